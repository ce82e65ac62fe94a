use callreel::access::{Reach, Scope};

fn put_together(reach: Reach) -> Scope {
    Scope { reach, sees_confidential: true } //~ E0451
}

fn main() {}
