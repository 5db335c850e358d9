//! `active`, `hot` and `warm` of a `[[service]]`, resolved and checked.

use grace_model::config::Roles;
use toml::Spanned;

use super::fault::Fault;
use super::resolve::MOST_INSTANCES;

/// The roles, if the service names any. `instances` is the key that they stand in place of.
pub fn resolve(
    counts: [(&str, &Option<Spanned<i64>>); 3],
    instances: Option<&Spanned<i64>>,
    faults: &mut Vec<Fault>,
) -> Option<Roles> {
    let first = counts.iter().find_map(|(_, value)| value.as_ref())?;
    if let Some(instances) = instances {
        faults.push(Fault::new(
            instances.span(),
            "say either `instances`, all of them active, or `active`, `hot` and `warm`",
        ));
        return None;
    }
    let mut numbers = [0_u32; 3];
    for ((key, value), number) in counts.iter().zip(&mut numbers) {
        let Some(value) = value else { continue };
        match u32::try_from(*value.get_ref()) {
            Ok(count) if count <= MOST_INSTANCES => *number = count,
            _ => {
                let what = format!("`{key}` is 0 to {MOST_INSTANCES}");
                faults.push(Fault::new(value.span(), what));
                return None;
            }
        }
    }
    let [active, hot, warm] = numbers;
    if active == 0 {
        faults.push(Fault::new(
            first.span(),
            "a service with roles needs `active = 1` or more: nobody else takes traffic",
        ));
        return None;
    }
    if active + hot + warm > MOST_INSTANCES {
        let what = format!(
            "{} instances are too many: `active`, `hot` and `warm` are {MOST_INSTANCES} together \
             at most",
            active + hot + warm
        );
        faults.push(Fault::new(first.span(), what));
        return None;
    }
    Some(Roles { active, hot, warm })
}
