//! Who is measured when: in turn, so that what the machine does besides hits all alike.

use anyhow::Result;

/// A contender: measures once.
pub type Turn<'a, T> = Box<dyn FnMut() -> Result<T> + 'a>;

/// Lets each take its turn, round after round. The answer has a list for each contender, with a
/// figure a round. The first error ends it.
pub fn interleaved<T>(rounds: usize, turns: &mut [Turn<'_, T>]) -> Result<Vec<Vec<T>>> {
    let mut figures: Vec<Vec<T>> = turns.iter().map(|_| Vec::with_capacity(rounds)).collect();
    for _ in 0..rounds {
        for (turn, figures) in turns.iter_mut().zip(&mut figures) {
            figures.push(turn()?);
        }
    }
    Ok(figures)
}

/// The middle of some figures.
pub fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => figures[n / 2],
        n => f64::midpoint(figures[n / 2 - 1], figures[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert!((median(&mut [3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&mut [4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(&mut []).is_nan());
    }

    #[test]
    fn contenders_take_turns_in_every_round() {
        let order = RefCell::new(String::new());
        let turn = |name: char| -> Turn<'_, usize> {
            let order = &order;
            Box::new(move || {
                order.borrow_mut().push(name);
                Ok(order.borrow().len())
            })
        };
        let figures = interleaved(3, &mut [turn('o'), turn('p')]).unwrap();
        assert_eq!(*order.borrow(), "opopop");
        assert_eq!(figures, [[1, 3, 5], [2, 4, 6]]);
    }

    #[test]
    fn a_turn_that_fails_ends_the_rounds() {
        let mut count = 0;
        let failed = interleaved::<f64>(
            3,
            &mut [Box::new(|| {
                count += 1;
                anyhow::bail!("no peer")
            })],
        );
        assert!(failed.is_err());
        assert_eq!(count, 1);
    }
}
