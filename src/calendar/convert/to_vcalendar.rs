#![allow(dead_code)]
//! iCalendar 2.0 said in vCalendar 1.0.

use super::{Options, Translation};
use crate::calendar::error::ObjectError;
use crate::calendar::property::Document;

pub(super) fn translate(document: Document, options: &Options) -> Result<Translation, ObjectError> {
    let _ = options;
    Ok(Translation { octets: document.octets, losses: Vec::new(), more_losses: 0 })
}
