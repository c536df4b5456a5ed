//! What a framework sees of any master: one suite, run against the master in memory and against the real one.
//!
//! A scenario is a story told through the SDK on a [`Stage`]. Everything the framework hears is written down in words
//! that do not change from run to run (`offer agent-1 cpus:4; mem:1024`), and compared with what the scenario says it
//! must be: so two masters that pass have said the same.

mod away; // cut off, taken over, torn down
mod cable; // a network that the scenario can cut
mod demanding; // what waits, said to the master
mod groups; // tasks that are launched together
mod launching; // tasks that run, and tasks that cannot
mod offering; // offers taken, left, asked for
mod telling; // updates, acknowledgements, reconciliation
mod watcher; // a framework that writes down what it hears

use std::future::Future;

use mete_model::{Resources, TaskId, TaskState};

pub use away::*;
pub use demanding::*;
pub use groups::*;
pub use launching::*;
pub use offering::*;
pub use telling::*;

/// A master and its agents, as a scenario needs them.
///
/// Its agents run nothing: tasks become TASK_STARTING and TASK_RUNNING, and TASK_KILLED when they are told to, each
/// report by SOURCE_EXECUTOR and repeated until it is acknowledged, within a second or so. When a task of a group fails or is
/// killed, the others of it are killed.
pub trait Stage: Send {
    /// Where frameworks connect: `http://127.0.0.1:…`.
    fn master_address(&self) -> String;

    /// Adds an agent; returns when the master has it.
    fn add_agent(&mut self, resources: Resources) -> impl Future<Output = ()> + Send;

    /// Lets a task end.
    fn finish_task(&mut self, task: &TaskId, state: TaskState) -> impl Future<Output = ()> + Send;
}

/// Writes a test for each scenario. The argument makes a [`Stage`]: `async fn() -> impl Stage`.
#[macro_export]
#[doc(hidden)]
macro_rules! scenario_tests {
    ($stage:expr) => {
        $crate::scenario_tests! { @each $stage,
            a_framework_is_let_in_and_gets_offers,
            declined_offers_stay_away_for_the_filter_time,
            a_suppressed_framework_gets_no_offers_until_it_revives,
            a_framework_may_begin_suppressed,
            a_task_starts_runs_and_finishes,
            tasks_share_offers_of_one_agent,
            a_killed_task_ends,
            a_used_offer_cannot_be_used_again,
            an_offer_to_another_framework_cannot_be_used,
            a_task_id_in_use_is_refused_and_free_afterwards,
            a_task_beyond_its_offer_is_refused,
            a_group_runs_and_its_executor_is_accounted_once,
            a_group_of_which_one_task_is_refused_does_not_run,
            a_task_that_fails_takes_its_group_along,
            an_update_comes_again_until_it_is_acknowledged,
            the_state_of_a_task_is_told_when_asked_for,
            the_states_of_all_tasks_are_told_when_none_is_named,
            a_framework_that_was_cut_off_comes_back_to_its_tasks,
            a_framework_without_failover_loses_its_tasks_with_its_stream,
            a_framework_fails_over_to_its_newer_self,
            a_torn_down_framework_is_gone_for_good,
            all_that_is_demanded_runs,
            a_demand_in_a_role_of_others_is_an_error,
            a_framework_that_waits_for_nothing_is_offered_nothing,
            an_offer_is_as_large_as_what_is_demanded,
            frameworks_with_demand_share_an_agent,
            what_waits_in_a_role_that_was_taken_later_is_offered_in_it,
        }
    };
    (@each $stage:expr, $($name:ident,)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                $crate::testkit::scenarios::$name($stage().await).await;
            }
        )*
    };
}
