//! The agent's autonomy in a new incident.

use breakglass_model::{Actor, Autonomy, EventBody, IncidentId, clock};

use super::scene::{Scene, ana, err};

impl Scene {
    async fn opened(&self) -> IncidentId {
        let opened = self.log.open_incident("devvm", ana(), false).await;
        opened.unwrap()
    }

    async fn choose(&self, incident: IncidentId, autonomy: Autonomy) {
        let set = self
            .bastion
            .set_autonomy(incident, "devvm", autonomy, ana());
        set.await.unwrap();
    }

    /// The changes of autonomy in an incident, with their actors.
    async fn set_in(&self, incident: IncidentId) -> Vec<(Actor, Autonomy)> {
        let all = self.log.events(incident, 0, 1000).await.unwrap();
        let set = all.into_iter().filter_map(|event| match event.body {
            EventBody::AutonomyChanged { autonomy } => Some((event.actor, autonomy)),
            _ => None,
        });
        set.collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_incident_inherits_the_last_chosen_autonomy_and_records_it() {
    let scene = Scene::start().await;
    scene.choose(scene.incident, Autonomy::ReadOnly).await;
    let next = scene.opened().await;
    scene.bastion.prepare(next, "devvm").await.unwrap();
    let kept = [(Actor::System, Autonomy::ReadOnly)];
    assert_eq!(scene.set_in(next).await, kept);
    // Only once, however often its agent connects.
    let _post = scene.bastion.open(next, "devvm").await.unwrap();
    assert_eq!(scene.set_in(next).await, kept);
    let third = scene.opened().await;
    scene.bastion.prepare(third, "devvm").await.unwrap();
    assert_eq!(scene.set_in(third).await, kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn autonomy_of_an_open_incident_is_independent_of_others() {
    let scene = Scene::with(Autonomy::ReadOnly).await;
    let next = scene.opened().await;
    let opened_at = clock::now();
    // The log orders events by milliseconds.
    while clock::now() == opened_at {
        tokio::task::yield_now().await;
    }
    scene.choose(scene.incident, Autonomy::Autonomous).await;
    scene.bastion.prepare(next, "devvm").await.unwrap();
    assert_eq!(scene.set_in(next).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_incident_without_a_choice_has_the_configured_autonomy() {
    let scene = Scene::with(Autonomy::ApproveMutations).await;
    let next = scene.opened().await;
    scene.bastion.prepare(next, "devvm").await.unwrap();
    assert_eq!(scene.set_in(next).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn bastion_enforces_the_inherited_autonomy() {
    let mut scene = Scene::start().await;
    scene.choose(scene.incident, Autonomy::ReadOnly).await;
    scene.next_incident().await;
    let refused = scene.ssh(&["devvm", "touch /tmp/x"]).await;
    assert_eq!(refused.status.code(), Some(126));
    assert!(err(&refused).contains("may only read"), "{}", err(&refused));
}
