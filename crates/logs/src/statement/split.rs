//! A text to its statements, and whether a statement has parameters.

use super::token::{Lexer, Token};

/// Returns the statements of a text without their semicolons; what holds no token is none.
pub fn split(text: &str) -> Vec<&str> {
    let mut lexer = Lexer::new(text.as_bytes());
    let mut found = Vec::new();
    let (mut begin, mut empty) = (0, true);
    loop {
        match lexer.next() {
            Token::End => break,
            Token::Mark(b';') => {
                if !empty {
                    found.push(text[begin..lexer.start].trim());
                }
                (begin, empty) = (lexer.start + 1, true);
            }
            _ => empty = false,
        }
    }
    if !empty {
        found.push(text[begin..].trim());
    }
    found
}

/// Tells whether a statement has a parameter, such as `$1`.
pub fn has_parameters(statement: &str) -> bool {
    let mut lexer = Lexer::new(statement.as_bytes());
    loop {
        match lexer.next() {
            Token::End => return false,
            Token::Constant => {
                let bytes = lexer.bytes();
                if bytes.len() > 1 && bytes[0] == b'$' && bytes[1..].iter().all(u8::is_ascii_digit)
                {
                    return true;
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_in_quotes_and_comments_end_nothing() {
        assert_eq!(split("SELECT 1"), ["SELECT 1"]);
        assert_eq!(split(" SELECT ';' ; -- a;\n ;"), ["SELECT ';'"]);
        assert_eq!(
            split("SELECT $$;$$; DROP TABLE t;"),
            ["SELECT $$;$$", "DROP TABLE t"]
        );
        assert_eq!(split("/* ; */"), [] as [&str; 0]);
    }

    #[test]
    fn parameters_are_not_dollar_quotes() {
        assert!(has_parameters("SELECT * FROM t WHERE id = $1"));
        assert!(!has_parameters("SELECT '$1', $$ $1 $$"));
    }
}
