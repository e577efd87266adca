//! RRULE and EXRULE of vCalendar 1.0 as a value, and as software of 1996 to 2010 wrote them.

use super::RuleError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {}

impl Rule {
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        Err(RuleError(text.to_owned()))
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}
