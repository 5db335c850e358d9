//! The front after an upgrade: the same process, become the new program. It goes by what the
//! host resolved, so it needs neither the file nor the words that the first one was started with.

use std::fs;

use grace_model::config::Config;
use grace_model::layout::Layout;

use crate::front::Front;
use crate::problem::{OrProblem, Outcome};

/// Stays in front. `temporary`: the state directory is `grace run`'s own and goes with it.
pub fn run(layout: &Layout, json: bool, temporary: bool) -> Outcome {
    let path = layout.config();
    let kept = fs::read(&path).or_problem(path.display(), "`grace up` takes its place")?;
    let config: Config =
        serde_json::from_slice(&kept).or_problem(path.display(), "`grace up` takes its place")?;
    Front {
        config,
        detach: false,
        json,
        temporary,
    }
    .run()
}
