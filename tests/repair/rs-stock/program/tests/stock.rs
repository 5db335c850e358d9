//! The visible tests.
use stock::{longest_run, mean, search, Stock};

#[test]
fn reserving_takes_from_what_is_available() {
    let mut stock = Stock::new();
    stock.add("pen", 5);
    stock.add("pen", 1);
    assert_eq!(stock.available("pen"), 6);
    assert_eq!(stock.reserve("pen", 4), Ok(2));
    assert!(stock.reserve("pen", 3).is_err());
    assert_eq!(stock.reserve("pen", 2), Ok(0));
    assert!(stock.reserve("pen", 0).is_err());
}

#[test]
fn shipping_needs_a_reservation() {
    let mut stock = Stock::new();
    stock.add("cup", 3);
    assert!(!stock.ship("cup", 1));
    stock.reserve("cup", 2).unwrap();
    assert!(stock.ship("cup", 2));
    assert_eq!(stock.available("cup"), 1);
}

#[test]
fn the_most_comes_first() {
    let mut stock = Stock::new();
    stock.add("a", 1);
    stock.add("b", 3);
    stock.add("c", 3);
    assert_eq!(stock.ranking(), ["b", "c", "a"]);
}

#[test]
fn means() {
    assert_eq!(mean(&[1, 2, 6]), Some(3));
    assert_eq!(mean(&[]), None);
}

#[test]
fn searching() {
    assert_eq!(search(&[1, 3, 5, 7], 7), Some(3));
    assert_eq!(search(&[1, 3, 5, 7], 1), Some(0));
    assert_eq!(search(&[1, 3, 5, 7], 4), None);
}

#[test]
fn runs() {
    assert_eq!(longest_run(&[1, 1, 2, 2, 2, 3]), 3);
    assert_eq!(longest_run(&[]), 0);
}
