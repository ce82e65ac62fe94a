use callreel::access::{Reach, Scope};

fn put_together(reach: Reach, other: Scope) -> Scope {
    Scope { reach, ..other } //~ E0451
}

fn main() {}
