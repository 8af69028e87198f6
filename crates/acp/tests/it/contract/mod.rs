//! What every agent has to do: the real claude CLI, the real codex-acp and the real opencode, each against a
//! scripted model with the API that it uses.

mod agents;
mod failures;
mod judge;
mod promises;

/// A test of each promise for each agent.
macro_rules! contract {
    ($($promise:ident)*) => {
        mod claude { $(#[tokio::test] async fn $promise() { crate::contract::promises::$promise(crate::contract::agents::claude).await; })* }
        mod codex { $(#[tokio::test] async fn $promise() { crate::contract::promises::$promise(crate::contract::agents::codex).await; })* }
        mod opencode { $(#[tokio::test] async fn $promise() { crate::contract::promises::$promise(crate::contract::agents::opencode).await; })* }
    };
}

contract! {
    a_turn_answers_with_text
    two_turns_share_a_session_that_remembers
    the_instructions_name_the_machines_of_the_incident
    a_commands_text_output_and_failure_are_recorded_and_reach_the_model
    an_allowed_command_runs
    a_denied_command_does_not_run_and_the_model_learns_why
    a_stop_during_a_command_leaves_no_process_and_the_next_prompt_remembers
    a_stop_while_a_question_is_open_ends_the_turn_and_voids_it
    a_killed_agent_ends_the_turn_and_the_next_prompt_resumes_its_session
    a_restarted_server_resumes_the_session
    a_lost_session_is_reported_and_a_new_one_begins
    a_refused_login_is_reported_with_its_remedy
    a_model_that_refuses_connections_is_reported_and_fails_the_turn
    an_overloaded_model_is_reported_and_fails_the_turn
    a_missing_answer_is_reported_and_ends_the_turn
    hostile_output_is_bounded_and_made_visible
    the_health_contains_the_version
    a_missing_agent_is_reported
    an_agent_that_dies_at_once_is_reported_with_its_last_words
    a_prompt_can_name_its_model
}
