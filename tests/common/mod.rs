pub mod expected;
pub mod reference;
pub mod replay;
