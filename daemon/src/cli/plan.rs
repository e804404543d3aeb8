//! `terrace plan`: where each task runs.

use super::args::{Global, PlanArgs};
use super::daemon;
use super::exit::{Code, Failure};
use super::output::Output;
use crate::api::Plan;
use crate::render;

pub(super) fn plan(global: &Global, _args: &PlanArgs, output: &Output) -> Result<Code, Failure> {
    output.print(&daemon::get::<Plan>(global, "/v1/plan")?, render::plan)
}
