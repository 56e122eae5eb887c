//! `rollcall app compare` and `rollcall app repair`: what an application has, against what it should have.

use std::process::ExitCode;

use anyhow::{Result, bail};
use serde_json::json;

use super::delivery;
use crate::cli::args::{CompareArgs, RepairArgs};
use crate::cli::backend::{Backend, Repaired};
use crate::cli::failure::Refusal;
use crate::cli::output::{IN_PART, Output, counted, listed, time};
use crate::delivery::comparison::{
    Comparison, Difference, Differs, Kind, RepairPlan, Selection, Status, Subject, Tally,
};
use crate::delivery::job::{JobKind, JobPosition, JobStatus};

/// How many differences are shown to people who do not ask for all of them.
const SHOWN: usize = 50;

pub(super) async fn compare(backend: &Backend, out: &Output, args: CompareArgs) -> Result<ExitCode> {
    let application = backend.application(&args.app).await?;
    let id = &application.id;
    if args.cancel {
        let cancelled = backend.cancel_comparison(id).await?;
        out.show(&json!({ "cancelled": cancelled }), || {
            format!("{cancelled} is cancelled")
        });
        return Ok(ExitCode::SUCCESS);
    }
    if !args.last && !is_under_way(backend, id).await {
        backend.compare(id).await?;
    }
    let compared = match args.last {
        true => backend.comparison(id).await?,
        false => over(backend, id).await?,
    };
    let most = if out.json || args.all { usize::MAX } else { SHOWN };
    let differences = backend
        .differences(id, &compared, (args.kind, out.json), most)
        .await?;
    let shown = json!({ "comparison": compared, "differences": differences });
    out.show(&shown, || {
        let mut text = lines_of(&compared);
        text.extend(differences.iter().map(line_of));
        if compared.counts.differing() > SHOWN as u64 && differences.len() == SHOWN {
            text.push_str("… and more: --last --all shows all of them, --kind those of a kind\n");
        }
        text.push_str(&hint(&compared, &application.name));
        text
    });
    Ok(match (compared.status, compared.counts.differing()) {
        (Status::Done, 0) => ExitCode::SUCCESS,
        (Status::Done, _) => ExitCode::from(IN_PART),
        (Status::Running, _) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Whether one is under way, such as that with which a full synchronization ends. It is followed then.
async fn is_under_way(backend: &Backend, application_id: &str) -> bool {
    let newest = backend.comparison(application_id).await;
    newest.is_ok_and(|it| it.status == Status::Running)
}

/// The newest comparison as soon as it has ended.
async fn over(backend: &Backend, application_id: &str) -> Result<Comparison> {
    loop {
        let compared = backend.comparison(application_id).await?;
        if compared.status != Status::Running {
            return Ok(compared);
        }
        tokio::time::sleep(backend.look_every()).await;
    }
}

/// How to repair what differs, if something does.
fn hint(compared: &Comparison, name: &str) -> String {
    if compared.status != Status::Done || compared.counts.differing() == 0 {
        return String::new();
    }
    format!(
        "rollcall app repair {name:?} --all repairs them, --kind those of a kind, --only those of some numbers\n"
    )
}

/// The comparison with which a full synchronization has ended, as soon as it has ended itself; `None` if it ended with
/// none.
pub(super) async fn after(backend: &Backend, job: &JobPosition, application_id: &str) -> Option<Comparison> {
    let is_full = job.kind == JobKind::Full;
    let was_sent = matches!(job.status, JobStatus::Success | JobStatus::PartialSuccess);
    if !is_full || !was_sent {
        return None;
    }
    // The erasure of somebody deletes comparisons. The synchronization is done all the same.
    let of_job = |it: &Comparison| it.created_at >= job.created_at;
    backend.comparison(application_id).await.ok().filter(of_job)?;
    over(backend, application_id).await.ok().filter(of_job)
}

/// A comparison for people who synchronized: in full only if there is something to say.
pub(super) fn lines_after(compared: &Comparison, name: &str) -> String {
    let counts = &compared.counts;
    let foreign = counts.of_kind(Kind::Foreign);
    match compared.status {
        Status::Done if counts.differing() + foreign == 0 => {
            format!("compared with what {name} has: nothing differs\n")
        }
        Status::Done => format!(
            "{}rollcall app compare {name:?} --last names what differs, --kind foreign what is nobody of the hub's\n{}",
            lines_of(compared),
            hint(compared, name)
        ),
        _ => lines_of(compared),
    }
}

pub(super) async fn repair(backend: &Backend, out: &Output, args: RepairArgs) -> Result<ExitCode> {
    let application = backend.application(&args.app).await?;
    let compared = backend.comparison(&application.id).await?;
    let selection = Selection {
        all: args.all,
        kinds: args.kinds,
        differences: args.only,
        ..Selection::everything(&compared.id)
    };
    let Repaired { plan, job } = backend.repair(&application.id, selection, args.confirm).await?;
    let Some(job) = job else {
        if !out.json {
            // What is refused is said on the standard error, and what it is about on the standard output.
            out.show(&plan, || lines_of_plan(&plan));
        }
        bail!(Refusal::of(
            "unconfirmed",
            format!(
                "nothing is repaired yet, since the repair takes away more than the thresholds of {} allow: {}",
                application.name,
                listed(&exceeded(&plan))
            ),
            format!("to do it, repeat with --confirm {}", plan.token),
        ));
    };
    if args.detach {
        out.show(&json!({ "plan": plan, "id": job }), || {
            format!("{}{job} is queued; a running hub does it\n", lines_of_plan(&plan))
        });
        return Ok(ExitCode::SUCCESS);
    }
    if !out.json {
        out.show(&plan, || lines_of_plan(&plan));
    }
    delivery::follow_job(backend, out, &application, &job).await
}

fn exceeded(plan: &RepairPlan) -> Vec<String> {
    let words = plan.exceeds.iter().map(|threshold| threshold.words().to_owned());
    words.collect()
}

fn lines_of_plan(plan: &RepairPlan) -> String {
    format!(
        "create {}, update {}, disable {}, delete {}; {} taken out of groups, {} left empty\n",
        plan.create,
        plan.update,
        plan.disable,
        plan.delete,
        counted(plan.member_removals, "member"),
        counted(plan.emptied_groups, "group"),
    )
}

fn lines_of(compared: &Comparison) -> String {
    let mut text = format!(
        "{}  {}  {}{}\n",
        compared.id,
        compared.status.as_str(),
        time(compared.created_at),
        match &compared.error {
            Some(error) => format!("  {error}"),
            None => String::new(),
        }
    );
    if compared.status == Status::Interrupted {
        text.push_str("whoever compared is gone: compare again\n");
    }
    for (what, tally) in [
        ("users", &compared.counts.users),
        ("groups", &compared.counts.groups),
    ] {
        let Tally {
            there,
            here,
            same,
            create,
            update,
            disable,
            delete,
            unmapped,
            under_way,
            foreign,
        } = tally;
        text.push_str(&format!(
            "{what:<8}{there} there, {here} should be: {same} the same, {create} to create, {update} to update, \
             {disable} to disable, {delete} to delete, {unmapped} that cannot be mapped, {under_way} under way, \
             {foreign} foreign\n"
        ));
    }
    let members = &compared.counts.members;
    text.push_str(&format!(
        "members {} missing, {} too many, {} would be empty{}\n",
        members.missing,
        members.surplus,
        counted(members.emptied, "group"),
        match members.unread {
            0 => String::new(),
            unread => format!(", {} could not be read", counted(unread, "group")),
        }
    ));
    text
}

fn line_of(difference: &Difference) -> String {
    let what = match difference.subject {
        Subject::User => "user",
        Subject::Group => "group",
    };
    let id = difference.subject_id.as_ref().or(difference.remote_id.as_ref());
    let mut text = format!(
        "{:>6}  {:<8}  {what} {} ({}){}\n",
        difference.number,
        difference.kind.as_str(),
        difference.name,
        id.map_or("", String::as_str),
        match (difference.repairable, difference.kind) {
            (false, Kind::Create | Kind::Update | Kind::Disable | Kind::Delete) => {
                "  left as it is: the settings say so"
            }
            _ => "",
        }
    );
    for Differs {
        attribute,
        there,
        here,
    } in &difference.details.attributes
    {
        let shown = |value: &Option<serde_json::Value>| match value {
            Some(value) => value.to_string(),
            None => "nothing".to_owned(),
        };
        text.push_str(&format!(
            "                  {attribute}: {} there, {} here\n",
            shown(there),
            shown(here)
        ));
    }
    if difference.kind == Kind::Update {
        for (count, first, word) in [
            (difference.missing, &difference.details.first_missing, "missing"),
            (difference.surplus, &difference.details.first_surplus, "too many"),
        ] {
            if count > 0 {
                text.push_str(&format!("                  {count} {word}: {}\n", listed(first)));
            }
        }
    }
    if let Some(note) = &difference.details.note {
        text.push_str(&format!("                  {note}\n"));
    }
    text
}
