use callreel::access::{Reach, Scope};

fn made(reach: Reach) -> Scope {
    Scope::new(reach, true) //~ E0624
}

fn by_default() -> Scope {
    Default::default() //~ E0277
}

fn main() {}
