//! The two directions of one connection.

use std::ops::{Index, IndexMut};

/// One of the two; which is which has no meaning but that they are each other's opposite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    There,
    Back,
}

impl Way {
    pub const BOTH: [Way; 2] = [Way::There, Way::Back];

    pub fn opposite(self) -> Way {
        match self {
            Way::There => Way::Back,
            Way::Back => Way::There,
        }
    }
}

/// One value for each direction.
#[derive(Clone, Copy, Debug, Default)]
pub struct PerWay<T> {
    pub there: T,
    pub back: T,
}

impl<T> Index<Way> for PerWay<T> {
    type Output = T;

    fn index(&self, way: Way) -> &T {
        match way {
            Way::There => &self.there,
            Way::Back => &self.back,
        }
    }
}

impl<T> IndexMut<Way> for PerWay<T> {
    fn index_mut(&mut self, way: Way) -> &mut T {
        match way {
            Way::There => &mut self.there,
            Way::Back => &mut self.back,
        }
    }
}
