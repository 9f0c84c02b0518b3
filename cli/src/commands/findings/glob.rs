//! Names with wildcards.

use std::str::FromStr;

/// A pattern in which `*` stands for any characters and `?` for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(String);

impl FromStr for Glob {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl Glob {
    /// Cost: O(pattern x name), without recursion, so that no pattern is slow.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut at, mut in_name) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while in_name < name.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    star = Some((at, in_name));
                    at += 1;
                }
                Some(&byte) if byte == b'?' || byte == name[in_name] => {
                    at += 1;
                    in_name += 1;
                }
                _ => match star {
                    // The last star takes one character more.
                    Some((star_at, taken)) => {
                        star = Some((star_at, taken + 1));
                        (at, in_name) = (star_at + 1, taken + 1);
                    }
                    None => return false,
                },
            }
        }
        pattern[at..].iter().all(|&byte| byte == b'*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, name, matches) in [
            ("php_*", "php_eval", true),
            ("php_*", "asp_eval", false),
            ("*eval*", "php_eval_x", true),
            ("*a*b*c", "xxaxxbxxbc", true),
            ("*a*b*c", "xxaxxbxxbcd", false),
            ("e?car", "eicar", true),
            ("eicar", "eicar_file", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(Glob(pattern.to_owned()).matches(name), matches, "{pattern} {name}");
        }
    }
}
