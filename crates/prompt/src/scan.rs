//! What must be known of an input before it is parsed: whether it is whole, which names it assigns
//! to, and which underscores stand for the last value.

/// An input, looked at once.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Brackets, a text or a comment are open.
    pub(crate) is_open: bool,
    /// The names that are assigned to.
    pub(crate) assigned: Vec<String>,
    /// Where `_` begins the default case of a `switch`: line and column, from 1.
    pub(crate) defaults: Vec<(usize, usize)>,
    /// The last character that is no blank and in no comment, and where it stands.
    pub(crate) last: Option<(char, usize)>,
    /// Behind what the last part ends: line and column, from 1.
    pub(crate) end: (usize, usize),
    /// The first word.
    pub(crate) first: String,
}

/// A part of the input, as far as it matters.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    Word(String, (usize, usize)),
    Assign,
    Arrow,
    Dot,
    Other,
}

struct Reader<'a> {
    chars: std::iter::Peekable<std::str::CharIndices<'a>>,
    at: (usize, usize),
    is_open: bool,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let (_, char) = self.chars.next()?;
        self.at = if char == '\n' { (self.at.0 + 1, 0) } else { (self.at.0, self.at.1 + 1) };
        Some(char)
    }

    fn peek(&mut self) -> Option<char> {
        self.chars.peek().map(|(_, char)| *char)
    }

    /// Skips what is quoted. Only back-quoted texts go over lines.
    fn quoted(&mut self, quote: char) {
        while let Some(char) = self.next() {
            match char {
                '\\' if quote != '`' => _ = self.next(),
                '\n' if quote != '`' => return,
                char if char == quote => return,
                _ => {}
            }
        }
        self.is_open |= quote == '`';
    }

    fn comment(&mut self) {
        let (mut depth, mut last) = (1, ' ');
        while let Some(char) = self.next() {
            (depth, last) = match (last, char) {
                ('*', '/') => (depth - 1, ' '),
                ('/', '*') => (depth + 1, ' '),
                _ => (depth, char),
            };
            if depth == 0 {
                return;
            }
        }
        self.is_open = true;
    }

    fn word(&mut self, first: char) -> String {
        let mut word = String::from(first);
        while let Some(char) = self.peek().filter(|it| it.is_ascii_alphanumeric() || *it == '_') {
            word.push(char);
            self.next();
        }
        word
    }
}

/// Looks at an input.
pub(crate) fn scan(text: &str) -> Scan {
    let mut reader = Reader { chars: text.char_indices().peekable(), at: (1, 0), is_open: false };
    let (mut scan, mut depth) = (Scan::default(), 0_i64);
    let mut parts = [Part::Other, Part::Other, Part::Other];
    while let Some(&(offset, _)) = reader.chars.peek() {
        let Some(char) = reader.next() else { break };
        let at = reader.at;
        let part = match (char, reader.peek()) {
            (char, _) if char.is_whitespace() => continue,
            ('/', Some('/')) => {
                while reader.peek().is_some_and(|char| char != '\n') {
                    reader.next();
                }
                continue;
            }
            ('/', Some('*')) => {
                reader.next();
                reader.comment();
                continue;
            }
            ('"' | '\'' | '`', _) => {
                reader.quoted(char);
                Part::Other
            }
            ('=', Some('>')) => {
                reader.next();
                Part::Arrow
            }
            ('=', Some('='))
            | ('!' | '<' | '>' | '+' | '-' | '*' | '/' | '%' | '&' | '|' | '^', Some('=')) => {
                reader.next();
                Part::Other
            }
            ('=', _) => Part::Assign,
            ('.', _) => Part::Dot,
            (char, _) if char.is_ascii_alphabetic() || char == '_' => {
                Part::Word(reader.word(char), at)
            }
            (char, _) => {
                depth += i64::from("([{".contains(char)) - i64::from(")]}".contains(char));
                Part::Other
            }
        };
        (scan.last, scan.end) = (Some((char, offset)), reader.at);
        parts.rotate_left(1);
        parts[2] = part;
        scan.note(&parts);
    }
    scan.is_open = reader.is_open || 0 < depth;
    scan
}

impl Scan {
    fn note(&mut self, parts: &[Part; 3]) {
        match parts {
            [_, _, Part::Word(word, _)] if self.first.is_empty() => self.first.clone_from(word),
            [Part::Word(it, _), Part::Word(..), Part::Assign] if it == "let" || it == "const" => {}
            [Part::Dot, Part::Word(..), Part::Assign] => {}
            [_, Part::Word(word, _), Part::Assign] => self.assigned.push(word.clone()),
            [_, Part::Word(word, at), Part::Arrow] if word == "_" => self.defaults.push(*at),
            _ => {}
        }
    }
}

/// What a block of lines in the original's manner, `for x in y:` and indented lines, means here; none
/// for another input. It ends before an empty line, or one that is not indented as the first of them is. No
/// character changes its place but in the line behind it.
pub(crate) fn braced(text: &str, scan: &Scan) -> Option<String> {
    let (head, body) = text.split_once('\n').unwrap_or((text, ""));
    let head = head.trim_end();
    let is_block = matches!(scan.first.as_str(), "for" | "while" | "if") && head.ends_with(':');
    let is_indented = |line: &str| line.starts_with([' ', '\t']);
    let mut end = 0;
    for line in body.split_inclusive('\n') {
        if 0 < end && (line.trim().is_empty() || is_indented(body) && !is_indented(line)) {
            break;
        }
        end += line.len();
    }
    let (block, rest) = body.split_at(end);
    is_block.then(|| format!("{}{{\n{block}}}{rest}", &head[..head.len() - 1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_open_until_its_brackets_texts_and_comments_are_closed() {
        let open = ["f(", "[1,", "{ \"}\"", "/* a", "`a\nb", "/* /* */", "if x { y( }"];
        let whole =
            ["", "f()", "\"(\"", "'['", "// (", "/* ( */ 1", "`(`", "\"\\\"(\"", ")", "\"(\n"];
        for text in open {
            assert!(scan(text).is_open, "{text}");
        }
        for text in whole {
            assert!(!scan(text).is_open, "{text}");
        }
    }

    #[test]
    fn names_that_are_assigned_to_are_found_and_fields_and_comparisons_are_none() {
        let found = |text| scan(text).assigned.join(" ");
        assert_eq!(found("b = 1; c=b"), "b c");
        assert_eq!(found("let b = 1; const c = 2; d.e = 3; x == 4; x <= 1; a += 1; \"z = 1\""), "");
        assert_eq!(found("switch x { _ => 1 }"), "");
        assert_eq!(scan("a\nswitch x { 1 => _, _ => 1 }").defaults, [(2, 20)]);
    }

    #[test]
    fn a_block_with_a_colon_gets_braces() {
        let text = "for tx in b.transactions:\n    tx.dump()\n";
        let expected = "for tx in b.transactions{\n    tx.dump()\n}";
        assert_eq!(braced(text, &scan(text)).unwrap(), expected);
        assert_eq!(braced("a:", &scan("a:")), None);
        for (text, expected) in [
            ("if x:\n  y()\n\n  z()", "if x{\n  y()\n}\n  z()"),
            ("if x:\n  y()\nz()\n", "if x{\n  y()\n}z()\n"),
            ("if x:\ny()\nz()", "if x{\ny()\nz()}"),
            ("if x:", "if x{\n}"),
        ] {
            assert_eq!(braced(text, &scan(text)).unwrap(), expected);
        }
    }
}
