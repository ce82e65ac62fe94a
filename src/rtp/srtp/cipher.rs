//! AES in counter mode, with a key of any length.

use aes::{Aes128Enc, Aes192Enc, Aes256Enc};
use ctr::CtrCore;
use ctr::cipher::{BlockCipherEncrypt, InnerIvInit, KeyInit, StreamCipherCore};
use ctr::flavors::Ctr128BE;

/// Bytes of a block.
pub const BLOCK: usize = 16;

/// Counts in all 128 bits of a block.
type Stream<'a, C> = CtrCore<&'a C, Ctr128BE>;

/// An expanded key.
#[derive(Clone)]
pub enum Aes {
    Aes128(Aes128Enc),
    Aes192(Aes192Enc),
    Aes256(Aes256Enc),
}

impl Aes {
    /// From 16, 24 or 32 bytes; `None` for any other number.
    pub fn new(key: &[u8]) -> Option<Aes> {
        match key.len() {
            16 => Aes128Enc::new_from_slice(key).ok().map(Aes::Aes128),
            24 => Aes192Enc::new_from_slice(key).ok().map(Aes::Aes192),
            32 => Aes256Enc::new_from_slice(key).ok().map(Aes::Aes256),
            _ => None,
        }
    }

    /// XORs `data` with the key stream that begins with the block `counter`.
    #[inline]
    pub fn apply(&self, counter: [u8; BLOCK], data: &mut [u8]) {
        let (counter, data) = (counter.into(), data.into());
        match self {
            Aes::Aes128(aes) => Stream::inner_iv_init(aes, &counter).apply_keystream_partial(data),
            Aes::Aes192(aes) => Stream::inner_iv_init(aes, &counter).apply_keystream_partial(data),
            Aes::Aes256(aes) => Stream::inner_iv_init(aes, &counter).apply_keystream_partial(data),
        }
    }

    /// One block, encrypted.
    pub fn encrypt(&self, block: [u8; BLOCK]) -> [u8; BLOCK] {
        let mut block = block.into();
        match self {
            Aes::Aes128(aes) => aes.encrypt_block(&mut block),
            Aes::Aes192(aes) => aes.encrypt_block(&mut block),
            Aes::Aes256(aes) => aes.encrypt_block(&mut block),
        }
        block.into()
    }
}
