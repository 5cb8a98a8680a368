//! Against real servers of the test bed; one module per verb.
