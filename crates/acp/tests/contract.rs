//! What every agent has to do, whatever it is: the real claude CLI, the real codex-acp and the real
//! opencode, each against a scripted model in the API that it speaks.

// Helpers of tests are tests: here a panic is the report.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../agent/tests/support/mod.rs"]
mod support;

#[path = "contract/agents.rs"]
mod agents;
#[path = "contract/failures.rs"]
mod failures;
#[path = "contract/judge.rs"]
mod judge;
#[path = "contract/promises.rs"]
mod promises;

/// Each promise for each agent.
macro_rules! contract {
    ($($promise:ident)*) => {
        mod claude { $(#[tokio::test] async fn $promise() { super::promises::$promise(super::agents::claude).await; })* }
        mod codex { $(#[tokio::test] async fn $promise() { super::promises::$promise(super::agents::codex).await; })* }
        mod opencode { $(#[tokio::test] async fn $promise() { super::promises::$promise(super::agents::opencode).await; })* }
    };
}

contract! {
    a_turn_answers_with_text
    two_turns_are_one_session_that_remembers
    the_instructions_name_the_incidents_own_machines
    a_commands_text_output_and_failure_are_recorded_and_reach_the_model
    a_question_that_is_allowed_lets_the_command_run
    a_question_that_is_denied_keeps_the_command_from_running_and_the_model_learns_why
    a_stop_in_a_command_leaves_nothing_running_and_the_next_prompt_remembers
    a_stop_while_a_question_is_open_ends_the_turn_and_voids_it
    an_agent_killed_in_mid_turn_ends_the_turn_and_the_next_prompt_resumes_its_session
    a_restarted_server_resumes_the_session
    a_lost_session_is_told_and_a_new_one_begins
    a_refused_login_is_told_in_words_with_the_remedy
    a_model_that_refuses_connections_is_told_and_fails_the_turn
    a_model_that_is_overloaded_is_told_and_fails_the_turn
    an_answer_that_never_comes_is_told_and_ends_the_turn
    hostile_output_is_bounded_and_made_visible
    the_health_names_the_version
    an_agent_that_is_missing_is_a_finding_in_a_sentence
    an_agent_that_dies_at_once_is_a_finding_with_its_last_words
    a_model_by_its_name_is_the_one_that_answers
}
