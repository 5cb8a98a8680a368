//! The book as its users meet it: what is told to whom, over time.

mod model;
mod night;
mod orders;
mod telling;
mod world;
