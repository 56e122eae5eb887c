//! The mistakes that the simulation must find.

use super::Mutant;

const LEDGER: &str = "crates/rollcall/src/delivery/ledger/mod.rs";
const LEASES: &str = "crates/rollcall/src/delivery/ledger/leases.rs";
const APPLICATIONS: &str = "crates/rollcall/src/application/store.rs";
const OPERATE: &str = "crates/rollcall/src/delivery/ledger/operate.rs";
const TRIM: &str = "crates/rollcall/src/delivery/ledger/trim.rs";
const CONCLUDE: &str = "crates/rollcall/src/delivery/plan/conclude.rs";
const PLAN: &str = "crates/rollcall/src/delivery/plan/mod.rs";
const CALLBACK: &str = "crates/rollcall/src/delivery/route/callback.rs";
const FEED: &str = "crates/rollcall/src/delivery/feed.rs";
const SEND: &str = "crates/rollcall/src/delivery/send/mod.rs";
const WORKER: &str = "crates/rollcall/src/delivery/worker.rs";
const SETTLE: &str = "crates/rollcall/src/delivery/worker/settle.rs";
const ROUNDS: &str = "crates/rollcall/src/delivery/worker/rounds.rs";
const SCOPE: &str = "crates/rollcall/src/delivery/job/scope.rs";
const STEPS: &str = "crates/rollcall/src/delivery/job/steps.rs";
const ENTITLEMENT: &str = "crates/rollcall/src/application/entitlement.rs";
const PASSWORDS: &str = "crates/rollcall/src/maintenance/passwords.rs";
const PARKED: &str = "crates/rollcall/src/delivery/plan/parked.rs";
const MIRROR: &str = "crates/receiver/src/mirror.rs";
const INBOX: &str = "crates/receiver/src/inbox.rs";

/// All of them.
pub(super) const ALL: &[Mutant] = &[
    Mutant {
        name: "the-fence-is-dropped",
        breaks: "a settlement is taken over whoever made it, and whatever was settled meanwhile",
        file: LEDGER,
        original: r#"if moved == 0 {
        return Err(LedgerError::Fenced);
    }"#,
        mutated: r#"if moved == 0 {
        tx.execute(
            "UPDATE deliveries SET revision = revision + 1, position = COALESCE($2, position)
             WHERE application_id = $1",
            params![id, *position],
        )?;
    }"#,
    },
    Mutant {
        name: "a-park-is-swallowed",
        breaks: "an event that is wanted again is not stored, although the position passes it",
        file: LEDGER,
        original: r"for parked in park {
        parked::store(tx, id, parked)?;
    }",
        mutated: r"for parked in park.iter().skip(1) {
        parked::store(tx, id, parked)?;
    }",
    },
    Mutant {
        name: "what-was-parked-stays",
        breaks: "an event that was acknowledged is sent again, after later ones of its subject",
        file: LEDGER,
        original: r"for event_id in unpark {
        parked::remove(tx, id, event_id)?;
    }",
        mutated: r"for event_id in unpark.iter().skip(1) {
        parked::remove(tx, id, event_id)?;
    }",
    },
    Mutant {
        name: "the-progress-of-a-job-is-not-stored",
        breaks: "a synchronization that was answered begins again where it stood before",
        file: LEDGER,
        original: r"if let Some(job) = job {
        jobs::store(tx, job, now)?;
    }",
        mutated: r"if let Some(job) = job.as_ref().filter(|job| !job.is_finished()) {
        jobs::store(tx, job, now)?;
    }",
    },
    Mutant {
        name: "an-outage-is-passed-over",
        breaks: "the position moves over a round that got no answer",
        file: WORKER,
        original: "self.suspend(&attempt, answered).await?",
        mutated: r"{
                    self.position = round.after;
                    self.suspend(&attempt, answered).await?
                }",
    },
    Mutant {
        name: "a-plan-outlives-its-reason",
        breaks: "what was planned ahead is sent although an event of the round before is wanted again",
        file: SETTLE,
        original: "Ok(clean && ended.is_none() && keeps_jobs)",
        mutated: "Ok(keeps_jobs)",
    },
    Mutant {
        name: "an-act-is-like-a-settlement",
        breaks: "of the settlements that are queued when somebody acts, the second is taken over without the first",
        file: APPLICATIONS,
        original: r#"tx.execute(
        "UPDATE deliveries SET revision = revision + $2 WHERE application_id = $1",
        params![id, ACT],
    )?;"#,
        mutated: r#"tx.execute(
        "UPDATE deliveries SET revision = revision + $2 WHERE application_id = $1",
        params![id, ACT / ACT],
    )?;"#,
    },
    Mutant {
        name: "nothing-is-held-within-a-round",
        breaks: "later events of a subject count as delivered although an earlier one is wanted again",
        file: CONCLUDE,
        original: "follows_one_of(&wanted, outgoing)",
        mutated: "false",
    },
    Mutant {
        name: "the-log-overtakes-what-is-parked",
        breaks: "an event of the log is sent before an earlier one of its subject that waits",
        file: PLAN,
        original: "self.held.blocks(&outgoing, queue)",
        mutated: "false",
    },
    Mutant {
        name: "a-refusal-is-success",
        breaks: "an answer with another status than 200 counts as received",
        file: CALLBACK,
        original: "reply.status != 200",
        mutated: "reply.status >= 500",
    },
    Mutant {
        name: "an-application-that-is-away-has-received",
        breaks: "503 and its like count as received",
        file: CALLBACK,
        original: "reply.status != 200",
        mutated: "reply.status < 500 && reply.status != 200",
    },
    Mutant {
        name: "an-unreadable-answer-is-success",
        breaks: "an answer that was cut counts as received, although it may have refused something",
        file: CALLBACK,
        original: "Err(Failure::Unreadable(shorten(&why)))",
        mutated: r"{
            drop(why);
            Ok(Judged {
                verdicts: vec![Verdict::Assumed; events.len()],
                foreign: None,
                strangers: Vec::new(),
            })
        }",
    },
    Mutant {
        name: "wanted-again-is-success",
        breaks: "an event that the application wants again is not sent again",
        file: CALLBACK,
        original: "Verdict::Again(remark(it))",
        mutated: "Verdict::Accepted",
    },
    Mutant {
        name: "refused-is-success",
        breaks: "an event that the application refuses is not set aside",
        file: CALLBACK,
        original: "Verdict::Refused(remark(it))",
        mutated: "Verdict::Accepted",
    },
    Mutant {
        name: "an-encrypted-application-is-told-in-the-clear",
        breaks: "records and passwords leave unsealed",
        file: CALLBACK,
        original: "Some(self.encryption_key.as_deref().ok_or(SealError::NoEncryptionKey)?)",
        mutated: "None",
    },
    Mutant {
        name: "an-untried-key-signs",
        breaks: "a new key signs before the application has accepted it",
        file: CALLBACK,
        original: "self.signing_keys.signing.as_ref()",
        mutated: r"self
                .candidate()
                .map(|candidate| &candidate.key)
                .or(self.signing_keys.signing.as_ref())",
    },
    Mutant {
        name: "a-membership-overtakes-its-member",
        breaks: "whoever is added to a group is not there yet, or is deleted by an older event afterwards",
        file: PARKED,
        original: "self.holds_any(&outgoing.follows())",
        mutated: "false",
    },
    Mutant {
        name: "a-deletion-is-superseded-by-nothing",
        breaks: "a deletion that was refused is dropped once the log has forgotten who was told",
        file: OPERATE,
        original: "Known::Perhaps",
        mutated: "Known::IfTheLogSays",
    },
    Mutant {
        name: "an-old-event-is-sent-again",
        breaks: "an event that was overtaken is sent again as it was",
        file: OPERATE,
        original: "is_newest(tx, application_id, parked)?",
        mutated: "true",
    },
    Mutant {
        name: "what-waits-is-served-from-its-end",
        breaks: "of the events of a subject that wait, the newest is sent first",
        file: PARKED,
        original: r"self.subjects
            .entry(waiting.parked.subject_id.clone())
            .or_default()
            .push_back(waiting);",
        mutated: r"self.subjects
            .entry(waiting.parked.subject_id.clone())
            .or_default()
            .push_front(waiting);",
    },
    Mutant {
        name: "who-moves-out-is-forgotten",
        breaks: "who leaves the scope by a change is not deleted there",
        file: ENTITLEMENT,
        original: "deleted(change.subject_kind)",
        mutated: "return None",
    },
    Mutant {
        name: "who-moves-in-is-forgotten",
        breaks: "who enters the scope by a change is not created there",
        file: ENTITLEMENT,
        original: "created(change.subject_kind)",
        mutated: "return None",
    },
    Mutant {
        name: "the-subscription-is-ignored",
        breaks: "events leave that the application has not subscribed to",
        file: ENTITLEMENT,
        original: "self.subscription.contains(event).then_some(event)",
        mutated: "Some(event)",
    },
    Mutant {
        name: "a-narrower-scope-deletes-nobody",
        breaks: "who leaves by a change of the scope is not deleted there",
        file: SCOPE,
        original: "self.after.covers(kind, placement)",
        mutated: "self.before.covers(kind, placement) || self.after.covers(kind, placement)",
    },
    Mutant {
        name: "a-list-of-a-scope-is-old",
        breaks: "who comes while a list of a change of scope is written is not in it",
        file: SCOPE,
        original: "change::read_after(tx, self.position, MOST_CHANGES)?",
        mutated: "Vec::<change::Change>::new()",
    },
    Mutant {
        name: "members-are-left-out",
        breaks: "a full synchronization tells of groups without their members",
        file: STEPS,
        original: r"members.retain(|member| after.is_none_or(|after| member.as_str() > after));",
        mutated: r"members.retain(|member| after.is_some_and(|after| member.as_str() > after));",
    },
    Mutant {
        name: "a-push-claims-the-future",
        breaks: "what changes after a push is older than it, and is taken for old news",
        file: STEPS,
        original: "change::head(tx)?.time",
        mutated: "change::head(tx)?.time + 600_000",
    },
    Mutant {
        name: "a-portion-keeps-its-name",
        breaks: "another portion of members has the id of the one before, and is answered from memory",
        file: STEPS,
        original: r#"members.join(",")"#,
        mutated: "String::new()",
    },
    Mutant {
        name: "a-job-begins-too-early",
        breaks: "a job tells of the present before the log was told up to it",
        file: ROUNDS,
        original: "job.is_pending() && self.position.cursor >= job.position",
        mutated: "job.is_pending()",
    },
    Mutant {
        name: "a-node-is-given-up-at-once",
        breaks: "an application is taken over while the node that delivers it lives",
        file: LEASES,
        original: "now.duration_since(*since) >= lease",
        mutated: "true",
    },
    Mutant {
        name: "a-node-does-not-say-that-it-lives",
        breaks: "an application is taken over while the node that delivers it goes on",
        file: LEASES,
        original: r#""UPDATE nodes SET beat = beat + 1 WHERE id = $1""#,
        mutated: r#""UPDATE nodes SET beat = beat WHERE id = $1""#,
    },
    Mutant {
        name: "a-lease-never-ends",
        breaks: "a node that slept beyond its lease goes on sending",
        file: SEND,
        original: "self.held.is_valid()",
        mutated: "true",
    },
    Mutant {
        name: "a-change-of-an-application-goes-unnoticed",
        breaks: "delivery goes on by settings and a scope that are no longer true",
        file: FEED,
        original: "self.version(&application.id) != Some(application.version)",
        mutated: "false",
    },
    Mutant {
        name: "passwords-are-kept",
        breaks: "a password outlives its acknowledgement",
        file: PASSWORDS,
        original: "change::erase_secrets(tx, acknowledged, now - millis(waits_at_most))?;",
        mutated: "let _ = (acknowledged, now, waits_at_most);",
    },
    Mutant {
        name: "retention-takes-what-is-not-delivered",
        breaks: "changes are removed that an application has not got",
        file: TRIM,
        original: "slowest.map_or(up_to, |slowest| slowest.min(up_to))",
        mutated: "up_to",
    },
    Mutant {
        name: "a-mirror-forgets-what-it-has-applied",
        breaks: "an event that arrives twice is applied twice",
        file: MIRROR,
        original: "remembered(tx, TAKEN_BY, &event.event_id)?",
        mutated: "None",
    },
    Mutant {
        name: "an-inbox-forgets-what-it-has-taken",
        breaks: "an event that arrives twice is taken in twice",
        file: INBOX,
        original: "remembered(tx, TAKEN_BY, &event.event_id)?",
        mutated: "None",
    },
    Mutant {
        name: "users-keep-the-name-that-their-unit-had",
        breaks: "a unit gets another name, and nobody tells those applications that have it of the unit's users",
        file: ROUNDS,
        original: "round.cursor() == change.seq && self.target().bears_on_users(&change)",
        mutated: "round.cursor() < change.seq && self.target().bears_on_users(&change)",
    },
];
