//! Text to expression, with the place of every fault.

use grace_model::plugin::Value;

use super::{Ast, MAX_DEPTH, MAX_LENGTH, Operator, SyntaxError};

/// Parses a whole text.
///
/// # Errors
/// The first fault.
pub fn parse(text: &str) -> Result<Ast, SyntaxError> {
    if text.len() > MAX_LENGTH {
        let message = format!("an expression has at most {MAX_LENGTH} bytes");
        return Err(SyntaxError {
            offset: 0,
            length: text.len(),
            message,
        });
    }
    let tokens = tokens(text)?;
    let mut parser = Parser {
        tokens: &tokens,
        at: 0,
        end: text.len(),
        depth: 0,
    };
    let ast = parser.or()?;
    match parser.peek() {
        None => Ok(ast),
        Some(token) => Err(token.fault(format!("`{}` is not expected here", token.written()))),
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Value(Value),
    Name(String),
    Operator(Operator),
    And,
    Or,
    Not,
    Open,
    Close,
    OpenTemplate,
    CloseTemplate,
}

#[derive(Debug, Clone, PartialEq)]
struct Token {
    kind: Kind,
    offset: usize,
    length: usize,
}

impl Token {
    fn fault(&self, message: impl Into<String>) -> SyntaxError {
        SyntaxError {
            offset: self.offset,
            length: self.length,
            message: message.into(),
        }
    }

    fn written(&self) -> String {
        match &self.kind {
            Kind::Value(value) => value.to_string(),
            Kind::Name(name) => name.clone(),
            Kind::Operator(operator) => operator.sign().to_owned(),
            Kind::And => "and".to_owned(),
            Kind::Or => "or".to_owned(),
            Kind::Not => "not".to_owned(),
            Kind::Open => "(".to_owned(),
            Kind::Close => ")".to_owned(),
            Kind::OpenTemplate => "${".to_owned(),
            Kind::CloseTemplate => "}".to_owned(),
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, SyntaxError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let offset = text.len() - rest.len();
        let (kind, length) =
            token(rest, first).map_err(|(start, length, message)| SyntaxError {
                offset: offset + start,
                length,
                message,
            })?;
        tokens.push(Token {
            kind,
            offset,
            length,
        });
        rest = rest.get(length..).unwrap_or_default().trim_start();
    }
    Ok(tokens)
}

type Fault = (usize, usize, String);

fn token(rest: &str, first: char) -> Result<(Kind, usize), Fault> {
    const SIGNS: [(&str, Kind); 10] = [
        ("==", Kind::Operator(Operator::Equal)),
        ("!=", Kind::Operator(Operator::NotEqual)),
        ("<=", Kind::Operator(Operator::LessOrEqual)),
        (">=", Kind::Operator(Operator::GreaterOrEqual)),
        ("<", Kind::Operator(Operator::Less)),
        (">", Kind::Operator(Operator::Greater)),
        ("${", Kind::OpenTemplate),
        ("}", Kind::CloseTemplate),
        ("(", Kind::Open),
        (")", Kind::Close),
    ];
    for (sign, kind) in SIGNS {
        if rest.starts_with(sign) {
            return Ok((kind, sign.len()));
        }
    }
    match first {
        '\'' | '"' => text_literal(rest, first),
        '-' | '0'..='9' => number(rest),
        c if c.is_ascii_alphabetic() || c == '_' => Ok(word(rest)),
        '=' => Err((0, 1, "`=` compares nothing: write `==`".to_owned())),
        '!' => Err((0, 1, "write `not` instead of `!`".to_owned())),
        '&' => Err((0, 1, "write `and` instead of `&&`".to_owned())),
        '|' => Err((0, 1, "write `or` instead of `||`".to_owned())),
        c => Err((0, c.len_utf8(), format!("`{c}` has no meaning here"))),
    }
}

fn text_literal(rest: &str, quote: char) -> Result<(Kind, usize), Fault> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((place, c)) = characters.next() {
        match c {
            '\\' => match characters.next() {
                Some((_, escaped @ ('\\' | '\'' | '"'))) => text.push(escaped),
                _ => return Err((place, 1, "after `\\` comes `\\`, `'` or `\"`".to_owned())),
            },
            c if c == quote => return Ok((Kind::Value(Value::Text(text)), place + 1)),
            c => text.push(c),
        }
    }
    Err((0, 1, format!("this {quote} is never closed")))
}

fn number(rest: &str) -> Result<(Kind, usize), Fault> {
    let length = rest
        .char_indices()
        .skip(1)
        .find(|(_, c)| !(c.is_ascii_alphanumeric() || *c == '.' || *c == '_'))
        .map_or(rest.len(), |(place, _)| place);
    let written = rest.get(..length).unwrap_or_default();
    match written.parse::<i64>() {
        Ok(number) => Ok((Kind::Value(Value::Integer(number)), length)),
        Err(_) => Err((0, length, format!("`{written}` is no whole number"))),
    }
}

fn word(rest: &str) -> (Kind, usize) {
    let length = rest
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')))
        .unwrap_or(rest.len());
    let word = rest.get(..length).unwrap_or_default();
    let kind = match word {
        "true" => Kind::Value(Value::Flag(true)),
        "false" => Kind::Value(Value::Flag(false)),
        "and" => Kind::And,
        "or" => Kind::Or,
        "not" => Kind::Not,
        "contains" => Kind::Operator(Operator::Contains),
        name => Kind::Name(name.to_owned()),
    };
    (kind, length)
}

/// Whether `name` is dotted words, each with something in it.
pub(crate) fn is_name(name: &str) -> bool {
    name.split('.').all(|part| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
    })
}

struct Parser<'t> {
    tokens: &'t [Token],
    at: usize,
    end: usize,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<&'t Token> {
        self.tokens.get(self.at)
    }

    fn take(&mut self, kind: &Kind) -> bool {
        let found = self.peek().is_some_and(|token| token.kind == *kind);
        self.at += usize::from(found);
        found
    }

    fn or(&mut self) -> Result<Ast, SyntaxError> {
        self.chain(&Kind::Or, Self::and, Ast::Or)
    }

    fn and(&mut self) -> Result<Ast, SyntaxError> {
        self.chain(&Kind::And, Self::not, Ast::And)
    }

    /// Each link nests the tree one deeper, so links are counted like parentheses.
    fn chain(
        &mut self,
        sign: &Kind,
        part: fn(&mut Self) -> Result<Ast, SyntaxError>,
        join: fn(Box<Ast>, Box<Ast>) -> Ast,
    ) -> Result<Ast, SyntaxError> {
        let before = self.depth;
        let mut left = part(self)?;
        while self.take(sign) {
            self.deeper()?;
            let right = part(self)?;
            left = join(Box::new(left), Box::new(right));
        }
        self.depth = before;
        Ok(left)
    }

    fn not(&mut self) -> Result<Ast, SyntaxError> {
        if self.take(&Kind::Not) {
            self.deeper()?;
            let inner = self.not()?;
            self.depth -= 1;
            return Ok(Ast::Not(Box::new(inner)));
        }
        self.compare()
    }

    fn compare(&mut self) -> Result<Ast, SyntaxError> {
        let left = self.value()?;
        let Some(Token {
            kind: Kind::Operator(operator),
            ..
        }) = self.peek()
        else {
            return Ok(left);
        };
        self.at += 1;
        let right = self.value()?;
        if let Some(
            token @ Token {
                kind: Kind::Operator(_),
                ..
            },
        ) = self.peek()
        {
            return Err(token.fault("comparisons do not chain: join them with `and`"));
        }
        Ok(Ast::Compare(*operator, Box::new(left), Box::new(right)))
    }

    fn value(&mut self) -> Result<Ast, SyntaxError> {
        let Some(token) = self.peek() else {
            let message = "something is missing at the end".to_owned();
            return Err(SyntaxError {
                offset: self.end,
                length: 0,
                message,
            });
        };
        self.at += 1;
        match &token.kind {
            Kind::Value(value) => Ok(Ast::Literal(value.clone())),
            Kind::Name(name) if is_name(name) => Ok(Ast::Name {
                name: name.clone(),
                offset: token.offset,
            }),
            Kind::Name(name) => Err(token.fault(format!("`{name}` is no name"))),
            Kind::Open => self.closed(token, &Kind::Close, ")"),
            Kind::OpenTemplate => self.closed(token, &Kind::CloseTemplate, "}"),
            _ => Err(token.fault(format!("a value is expected before `{}`", token.written()))),
        }
    }

    fn closed(&mut self, open: &Token, close: &Kind, sign: &str) -> Result<Ast, SyntaxError> {
        self.deeper()?;
        let inner = self.or()?;
        self.depth -= 1;
        if self.take(close) {
            return Ok(inner);
        }
        Err(match self.peek() {
            Some(token) => token.fault(format!("`{sign}` is expected here")),
            None => open.fault(format!("`{}` is never closed by `{sign}`", open.written())),
        })
    }

    fn deeper(&mut self) -> Result<(), SyntaxError> {
        self.depth += 1;
        if self.depth <= MAX_DEPTH {
            return Ok(());
        }
        let offset = self.peek().map_or(self.end, |token| token.offset);
        let message = format!("an expression nests at most {MAX_DEPTH} deep");
        Err(SyntaxError {
            offset,
            length: 1,
            message,
        })
    }
}
