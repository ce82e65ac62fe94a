use callreel::access::Reach;
use callreel::base::SYSTEM_TENANT;

fn main() {
    let _ = Reach::Tenant(SYSTEM_TENANT); //~ E0603
    let _ = Reach::System; //~ E0603
}
