//! How much the agent may do in a new incident.

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

    /// Who set the agent's autonomy in an incident, and to what.
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
async fn a_new_incident_keeps_the_autonomy_that_was_chosen_last_and_says_so() {
    let scene = Scene::start().await;
    scene.choose(scene.incident, Autonomy::ReadOnly).await;
    let next = scene.opened().await;
    scene.bastion.prepare(next, "devvm").await.unwrap();
    let kept = [(Actor::System, Autonomy::ReadOnly)];
    assert_eq!(scene.set_in(next).await, kept);
    // Once, however often its agent comes.
    let _post = scene.bastion.open(next, "devvm").await.unwrap();
    assert_eq!(scene.set_in(next).await, kept);
    let third = scene.opened().await;
    scene.bastion.prepare(third, "devvm").await.unwrap();
    assert_eq!(scene.set_in(third).await, kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_chosen_elsewhere_later_does_not_change_an_incident_that_is_open() {
    let scene = Scene::with(Autonomy::ReadOnly).await;
    let next = scene.opened().await;
    let opened_at = clock::now();
    // The log tells milliseconds apart.
    while clock::now() == opened_at {
        tokio::task::yield_now().await;
    }
    scene.choose(scene.incident, Autonomy::Autonomous).await;
    scene.bastion.prepare(next, "devvm").await.unwrap();
    assert_eq!(scene.set_in(next).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_chose_a_new_incident_is_as_configured() {
    let scene = Scene::with(Autonomy::ApproveMutations).await;
    let next = scene.opened().await;
    scene.bastion.prepare(next, "devvm").await.unwrap();
    assert_eq!(scene.set_in(next).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kept_autonomy_is_what_the_bastion_goes_by() {
    let mut scene = Scene::start().await;
    scene.choose(scene.incident, Autonomy::ReadOnly).await;
    scene.next_incident().await;
    let refused = scene.ssh(&["devvm", "touch /tmp/x"]).await;
    assert_eq!(refused.status.code(), Some(126));
    assert!(err(&refused).contains("may only read"), "{}", err(&refused));
}
