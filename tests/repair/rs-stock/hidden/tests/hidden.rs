//! The hidden tests.
use stock::{longest_run, mean, search, Stock};

#[test]
fn hidden_stock() {
    let mut stock = Stock::new();
    assert_eq!(stock.available("x"), 0);
    assert!(stock.reserve("x", 1).is_err());
    stock.add("x", 10);
    assert_eq!(stock.reserve("x", 10), Ok(0));
    assert!(stock.ship("x", 4));
    assert!(!stock.ship("x", 7));
    assert!(stock.ship("x", 6));
    assert_eq!(stock.available("x"), 0);
    stock.add("x", 2);
    assert_eq!(stock.available("x"), 2);
    assert!(stock.reserve("x", 0).is_err());
    stock.add("y", 1);
    stock.add("z", 9);
    assert_eq!(stock.ranking(), ["z", "x", "y"]);
}

#[test]
fn hidden_numbers() {
    assert_eq!(mean(&[5]), Some(5));
    assert_eq!(mean(&[1, 2]), Some(1));
    assert_eq!(mean(&[-4, -2]), Some(-3));
    assert_eq!(search(&[], 1), None);
    for (at, value) in [2, 4, 6, 8, 10].into_iter().enumerate() {
        assert_eq!(search(&[2, 4, 6, 8, 10], value), Some(at));
        assert_eq!(search(&[2, 4, 6, 8, 10], value + 1), None);
    }
    assert_eq!(search(&[2, 4], 0), None);
    assert_eq!(longest_run(&[7]), 1);
    assert_eq!(longest_run(&[1, 2, 3]), 1);
    assert_eq!(longest_run(&[4, 4, 4, 4]), 4);
    assert_eq!(longest_run(&[1, 1, 0, 1]), 2);
}
