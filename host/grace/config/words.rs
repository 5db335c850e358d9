//! A command written as one text, split into words as a shell splits them, and nothing else that
//! a shell does.

/// Splits; understands quotes and backslashes.
pub fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut bare = true;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' => {
                finish(&mut words, word.take(), bare)?;
                bare = true;
            }
            '\'' => {
                bare = false;
                let into = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => into.push(c),
                        None => return Err("a ' is not closed".to_owned()),
                    }
                }
            }
            '"' => {
                bare = false;
                let into = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => match chars.next() {
                            Some(c @ ('"' | '\\' | '$' | '`')) => into.push(c),
                            Some(c) => into.extend(['\\', c]),
                            None => return Err("a \" is not closed".to_owned()),
                        },
                        Some(c) => into.push(c),
                        None => return Err("a \" is not closed".to_owned()),
                    }
                }
            }
            '\\' => {
                bare = false;
                let next = chars.next().ok_or("it ends in a backslash")?;
                word.get_or_insert_default().push(next);
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    finish(&mut words, word, bare)?;
    Ok(words)
}

fn finish(words: &mut Vec<String>, word: Option<String>, bare: bool) -> Result<(), String> {
    let Some(word) = word else { return Ok(()) };
    if bare
        && matches!(
            word.as_str(),
            "|" | "||" | "&" | "&&" | ";" | ">" | ">>" | "<" | "2>&1"
        )
    {
        return Err(format!(
            "no shell reads it, so `{word}` means nothing; write [\"sh\", \"-c\", \"exec ...\"] if you need one"
        ));
    }
    words.push(word);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        let split = |text| split(text).unwrap();
        assert_eq!(
            split("./shop --port {port}"),
            ["./shop", "--port", "{port}"]
        );
        assert_eq!(
            split(r#"a 'b c' "d \"e\"" f\ g"#),
            ["a", "b c", "d \"e\"", "f g"]
        );
        assert_eq!(split("a '' b"), ["a", "", "b"]);
        assert_eq!(split("sh -c 'a | b'"), ["sh", "-c", "a | b"]);
        assert!(split("  ").is_empty());
    }

    #[test]
    fn what_only_a_shell_understands_is_an_error() {
        for bad in ["a | b", "a > log", "a &", "a 'b", "a \"b", "a \\"] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }
}
