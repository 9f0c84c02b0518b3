//! An error with its causes on one line.

use std::error::Error;
use std::fmt;

/// Shows an error and its sources, outermost first, as "a: b: c".
pub(crate) struct Chain<'a>(pub(crate) &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Step(&'static str, Option<Box<Step>>);

    impl fmt::Display for Step {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Step {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|step| step as &(dyn Error + 'static))
        }
    }

    #[test]
    fn every_cause_appears_once_outermost_first() {
        let innermost = Step("no space left", None);
        let middle = Step("failed to write snapshot 7", Some(Box::new(innermost)));
        let outermost = Step("failed to drain", Some(Box::new(middle)));

        assert_eq!(Chain(&outermost).to_string(), "failed to drain: failed to write snapshot 7: no space left");
    }
}
