//! A change as a unified diff for `patch -p1`.

use similar::TextDiff;

use crate::candidate::Candidate;
use crate::project::Project;

/// The diff of all files that a change touches.
#[must_use]
pub fn unified(project: &Project, candidate: &Candidate) -> String {
    let mut out = String::new();
    for (at, new) in candidate.changed(project) {
        let Some(file) = project.files.get(at) else {
            continue;
        };
        let path = file.path.display();
        let diff = TextDiff::from_lines(&*file.text, &*new);
        let shown = diff
            .unified_diff()
            .context_radius(3)
            .header(&format!("a/{path}"), &format!("b/{path}"))
            .to_string();
        out.push_str(&shown);
    }
    out
}
