//! The one room that joins the others: controllers, queue workers, slots, logical units.
