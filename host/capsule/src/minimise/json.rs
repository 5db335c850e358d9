//! A JSON value, smaller while it still fails: level by level, as hierarchical delta debugging
//! (Misherghi and Su, ICSE 2006) does it. What is left is valid JSON at every step.

use serde_json::Value;

use super::Ddmin;

/// Says of values whether each still fails; none: ask no more.
pub(super) type Fails<'a> = dyn FnMut(&[Value]) -> Option<Vec<bool>> + 'a;

/// One step from a value to one inside.
#[derive(Debug, Clone)]
enum Step {
    Key(String),
    Place(usize),
}

/// Makes `root`, which fails, smaller. None when `fails` ended it; `root` is then the smallest
/// value so far.
pub(super) fn shrink(root: &mut Value, width: usize, fails: &mut Fails<'_>) -> Option<()> {
    let mut level: Vec<Vec<Step>> = vec![Vec::new()];
    while !level.is_empty() {
        let mut next = Vec::new();
        for path in level {
            shrink_at(root, &path, width, fails)?;
            match at(root, &path) {
                Some(Value::Object(map)) => {
                    next.extend(map.keys().map(|key| below(&path, Step::Key(key.clone()))));
                }
                Some(Value::Array(list)) => {
                    next.extend((0..list.len()).map(|place| below(&path, Step::Place(place))));
                }
                _ => {}
            }
        }
        level = next;
    }
    Some(())
}

fn shrink_at(root: &mut Value, path: &[Step], width: usize, fails: &mut Fails<'_>) -> Option<()> {
    let Some(node) = at(root, path).cloned() else {
        return Some(());
    };
    let parts: Vec<Value> = match &node {
        Value::Object(map) => {
            let one = |(key, value): (&String, &Value)| {
                Value::Object([(key.clone(), value.clone())].into_iter().collect())
            };
            map.iter().map(one).collect()
        }
        Value::Array(list) => list.clone(),
        Value::String(text) if !text.is_empty() => return try_one(root, path, "".into(), fails),
        Value::Number(number) if number.as_i64() != Some(0) => {
            return try_one(root, path, 0.into(), fails);
        }
        _ => return Some(()),
    };
    let rebuild = |which: &[usize]| -> Value {
        let kept = which.iter().filter_map(|at| parts.get(*at));
        match &node {
            Value::Object(_) => Value::Object(
                kept.filter_map(Value::as_object)
                    .flatten()
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect(),
            ),
            _ => Value::Array(kept.cloned().collect()),
        }
    };
    let mut work = Ddmin::new(parts.len(), width, true);
    let whole = root.clone();
    let done = work.run(&mut |lists| {
        let values: Vec<Value> = lists
            .iter()
            .map(|which| with(&whole, path, rebuild(which)))
            .collect();
        fails(&values)
    });
    *root = with(&whole, path, rebuild(work.best()));
    done
}

fn try_one(root: &mut Value, path: &[Step], simpler: Value, fails: &mut Fails<'_>) -> Option<()> {
    let candidate = with(root, path, simpler);
    let answer = fails(std::slice::from_ref(&candidate))?;
    if answer.first() == Some(&true) {
        *root = candidate;
    }
    Some(())
}

fn at<'a>(root: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(root, |node, step| match step {
        Step::Key(key) => node.get(key),
        Step::Place(place) => node.get(place),
    })
}

fn with(root: &Value, path: &[Step], value: Value) -> Value {
    let mut changed = root.clone();
    let place = path.iter().try_fold(&mut changed, |node, step| match step {
        Step::Key(key) => node.get_mut(key),
        Step::Place(place) => node.get_mut(place),
    });
    if let Some(place) = place {
        *place = value;
    }
    changed
}

fn below(path: &[Step], step: Step) -> Vec<Step> {
    let mut longer = path.to_vec();
    longer.push(step);
    longer
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_deep_field_stays_with_its_way_and_nothing_else() {
        let items: Vec<Value> = (0..40)
            .map(|n| json!({ "sku": format!("a-{n}"), "quantity": if n == 23 { -1 } else { n }, "tags": ["x", "y"] }))
            .collect();
        let mut value =
            json!({ "customer": { "name": "Ada", "id": 7 }, "items": items, "note": "please" });
        let mut asked = 0;
        let done = shrink(&mut value, 2, &mut |values| {
            asked += values.len();
            let fails = |value: &Value| {
                let items = value["items"].as_array();
                items.is_some_and(|all| {
                    all.iter()
                        .any(|it| it["quantity"].as_i64() < Some(0) && it["quantity"].is_number())
                })
            };
            Some(values.iter().map(fails).collect())
        });
        assert_eq!(done, Some(()));
        assert_eq!(value, json!({ "items": [{ "quantity": -1 }] }));
        assert!(asked < 139, "{asked} questions");
    }

    #[test]
    fn a_value_of_which_nothing_matters_becomes_empty() {
        let mut value = json!([{ "a": 1 }, "b", 3]);
        shrink(&mut value, 1, &mut |values| Some(vec![true; values.len()]));
        assert_eq!(value, json!([]));
    }
}
