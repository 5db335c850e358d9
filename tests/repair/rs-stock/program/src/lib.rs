//! A stock of goods with reservations, and a few helpers.

use std::collections::HashMap;

/// What is left and what is promised.
#[derive(Debug, Default)]
pub struct Stock {
    left: HashMap<String, u32>,
    reserved: HashMap<String, u32>,
}

impl Stock {
    /// Nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts goods in.
    pub fn add(&mut self, name: &str, count: u32) {
        *self.left.entry(name.to_string()).or_insert(0) += count;
    }

    /// What can still be reserved.
    pub fn available(&self, name: &str) -> u32 {
        let left = self.left.get(name).copied().unwrap_or(0);
        let reserved = self.reserved.get(name).copied().unwrap_or(0);
        left.saturating_sub(reserved)
    }

    /// Promises goods.
    pub fn reserve(&mut self, name: &str, count: u32) -> Result<u32, String> {
        if count == 0 {
            return Err("nothing to reserve".to_string());
        }
        if count > self.available(name) {
            return Err(format!("not enough {name}"));
        }
        *self.reserved.entry(name.to_string()).or_insert(0) += count;
        Ok(self.available(name))
    }

    /// Hands goods out that were promised.
    pub fn ship(&mut self, name: &str, count: u32) -> bool {
        let reserved = self.reserved.get(name).copied().unwrap_or(0);
        if reserved < count {
            return false;
        }
        self.reserved.insert(name.to_string(), reserved - count);
        if let Some(left) = self.left.get_mut(name) {
            *left -= count;
        }
        true
    }

    /// The names with the most left first.
    pub fn ranking(&self) -> Vec<String> {
        let mut all: Vec<(&String, &u32)> = self.left.iter().collect();
        all.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        all.into_iter().map(|(name, _)| name.clone()).collect()
    }
}

/// The mean, or none without values.
pub fn mean(values: &[i64]) -> Option<i64> {
    if values.is_empty() {
        return None;
    }
    let sum: i64 = values.iter().sum();
    Some(sum / values.len() as i64)
}

/// Where a value is in a sorted list.
pub fn search(values: &[i64], wanted: i64) -> Option<usize> {
    let mut low = 0;
    let mut high = values.len();
    while low < high {
        let middle = (low + high) / 2;
        if values[middle] == wanted {
            return Some(middle);
        }
        if values[middle] < wanted {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    None
}

/// The length of the longest run of equal values.
pub fn longest_run(values: &[i64]) -> usize {
    let mut best = 0;
    let mut current = 0;
    for i in 0..values.len() {
        if i > 0 && values[i] == values[i - 1] {
            current += 1;
        } else {
            current = 1;
        }
        if current > best {
            best = current;
        }
    }
    best
}
