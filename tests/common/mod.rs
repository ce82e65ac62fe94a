pub mod audio;
pub mod call;
pub mod expected;
pub mod findings;
pub mod recording;
pub mod reference;
pub mod replay;
