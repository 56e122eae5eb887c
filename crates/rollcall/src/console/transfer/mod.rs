//! The directory as a file: taking it away, and importing one. A file is uploaded, what importing it would do is shown,
//! and what was shown is done once somebody confirms it, or nothing.

mod kept;
mod upload;

use std::path::Path as FilePath;
use std::sync::Arc;

use askama::Template;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Redirect};
use axum::routing::{get, post};
use rollcall_db::DbError;

use super::addresses::Addresses;
use super::error::Failure;
use super::form::{Filled, Posted, again, done};
use super::page::{Answer, Page, Section, View, show};
use crate::access::Permission;
use crate::directory::Source;
use crate::hub::Hub;
use crate::import::{
    self, Counts, DeletionLimit, Dn, Format, ImportError, ImportReport, Mapping, Options, Problem,
};
use kept::{Imported, Planned, State};
use upload::{Arrived, LARGEST};

pub(super) use kept::Imports;

/// How many messages of each sort a page shows.
const MESSAGES: usize = 100;

/// The pages of import and export.
pub(super) fn routes() -> Addresses {
    Addresses::default()
        .route("/console/transfer", get(transfer).post(receive))
        .route("/console/transfer/plan", get(plan))
        .route("/console/transfer/apply", post(apply))
        .route("/console/transfer/discard", post(discard))
        .route("/console/transfer/result", get(result))
}

#[derive(Template)]
#[template(path = "transfer.html")]
struct TransferPage {
    page: Page,
    form: Filled,
    /// How large a file may be, in MiB.
    largest: u64,
}

impl TransferPage {
    fn of(page: Page, form: Filled) -> Self {
        Self {
            page,
            form,
            largest: LARGEST >> 20,
        }
    }
}

pub(in crate::console) async fn transfer(view: View) -> Answer {
    let view = view.within(Section::Directory);
    view.needs(Permission::ExportDirectory)?;
    let form = Filled::with(&[("format", "auto"), ("maxDeletions", "10%")]);
    show(&TransferPage::of(view.page, form))
}

/// How a form wants a file to be imported; what it cannot say is refused beside the field.
fn options_in(form: &mut Filled, page: &Page, arrived: Option<&Arrived>) -> Option<Options> {
    let Some(arrived) = arrived else {
        form.refuse("file", page.t("import-no-file"));
        return None;
    };
    if arrived.is_cut {
        form.refuse("file", page.t1("import-too-large", "count", LARGEST >> 20));
    }
    let format = match form.value("format") {
        "csv" => Some(Format::Csv),
        "ldif" => Some(Format::Ldif),
        "jsonl" => Some(Format::Jsonl),
        _ => Format::of(FilePath::new(&arrived.name)).ok(),
    };
    if format.is_none() {
        form.refuse("format", page.t("import-no-format"));
    }
    let owner = form.given("owner").map(|text| text.parse::<Source>());
    if let Some(Err(_)) = owner {
        form.refuse("owner", page.t("rule-owner"));
    }
    let owner = owner.and_then(Result::ok);
    let base = form.given("base").map(|text| Dn::parse(&text));
    if let Some(Err(error)) = &base {
        form.refuse("base", page.t1("import-wrong", "reason", error.to_string()));
    }
    let lines: Vec<String> = form
        .value("mapping")
        .lines()
        .map(|line| line.trim().to_owned())
        .collect();
    let lines: Vec<&String> = lines.iter().filter(|line| !line.is_empty()).collect();
    let mapping = Mapping::parse(&lines);
    if let Err(error) = &mapping {
        form.refuse("mapping", page.t1("import-wrong", "reason", error.to_string()));
    }
    let limit = form.value("maxDeletions").parse::<DeletionLimit>();
    if form.is_on("deleteMissing") {
        if owner.is_none() && form.wrong("owner").is_none() {
            form.refuse("owner", page.t("import-needs-owner"));
        }
        if limit.is_err() {
            form.refuse("maxDeletions", page.t("rule-deletions"));
        }
    }
    if form.is_refused() {
        return None;
    }
    Some(Options {
        mapping: mapping.ok()?,
        base: base.and_then(Result::ok),
        owner,
        adopt: form.is_on("adopt"),
        dry_run: true,
        delete_missing: limit.ok().filter(|_| form.is_on("deleteMissing")),
        ..Options::of(Planned::path(&arrived.folder, &arrived.name), format?)
    })
}

/// Takes a file, and plans its import.
async fn receive(view: View, request: Request) -> Answer {
    let view = view.within(Section::Directory);
    view.needs(Permission::WriteDirectory)?;
    let account = view.visitor.account().ok_or(Failure::Forbidden)?.id.clone();
    let (mut form, arrived) = upload::receive(&view, request).await?;
    let Some((options, arrived)) = options_in(&mut form, &view.page, arrived.as_ref()).zip(arrived) else {
        return again(&TransferPage::of(view.page, form));
    };
    let (report, fingerprint) = match planned(view.console.hub(), &options).await {
        Ok(planned) => planned,
        Err(ImportError::Database(error)) => return Err(error.into()),
        Err(error) => {
            form.warn(view.page.t1("import-unreadable", "reason", error.to_string()));
            return again(&TransferPage::of(view.page, form));
        }
    };
    let planned = Planned {
        name: arrived.name,
        options,
        report,
        fingerprint,
        folder: Arc::new(arrived.folder),
    };
    let state = State::Planned(Arc::new(planned));
    view.console.imports.keep(&account, view.console.now(), state);
    Ok(Redirect::to("/console/transfer/plan").into_response())
}

/// Plans an import on a thread of its own: a file is read as it comes, which would keep other requests waiting.
async fn planned(hub: &Hub, options: &Options) -> Result<(ImportReport, String), ImportError> {
    let (hub, options) = (hub.clone(), options.clone());
    apart(move || async move { import::plan(&hub, &options).await }).await
}

async fn apart<T: Send + 'static, W: Future<Output = Result<T, ImportError>>>(
    work: impl FnOnce() -> W + Send + 'static,
) -> Result<T, ImportError> {
    let runtime = tokio::runtime::Handle::current();
    let working = tokio::task::spawn_blocking(move || runtime.block_on(work()));
    working.await.map_err(|error| DbError::Other(error.to_string()))?
}

/// What an import did or would do, for a page.
struct Told {
    name: String,
    kinds: [(&'static str, Counts); 3],
    report: ImportReport,
    changes: u64,
}

impl Told {
    fn of(name: &str, report: &ImportReport) -> Self {
        let kinds = [
            ("kind-units", report.organizational_units),
            ("kind-users", report.users),
            ("tab-groups", report.groups),
        ];
        let counted = kinds
            .iter()
            .map(|(_, counts)| counts.created + counts.updated + counts.deleted);
        let mut report = report.clone();
        report.errors.truncate(MESSAGES);
        report.notes.truncate(MESSAGES);
        Self {
            name: name.to_owned(),
            changes: counted.sum::<u64>() + report.members_added + report.members_removed,
            kinds,
            report,
        }
    }

    /// The lines of the file that a message is about, as far as they are known.
    fn lines(problem: &Problem) -> String {
        let places = problem
            .entries
            .iter()
            .map(|place| match (place.line, place.subject.as_str()) {
                (0, subject) => subject.to_owned(),
                (line, "") => line.to_string(),
                (line, subject) => format!("{line} ({subject})"),
            });
        places
            .filter(|place| !place.is_empty())
            .collect::<Vec<_>>()
            .join(", ")
    }
}

#[derive(Template)]
#[template(path = "transfer_plan.html")]
struct PlanPage {
    page: Page,
    form: Filled,
    told: Told,
    fingerprint: String,
}

impl PlanPage {
    fn of(page: Page, form: Filled, planned: &Planned) -> Self {
        Self {
            page,
            form,
            told: Told::of(&planned.name, &planned.report),
            fingerprint: planned.fingerprint.clone(),
        }
    }
}

/// The import of the visitor that waits for being confirmed.
fn waiting(view: &View) -> Result<(String, Option<Arc<Planned>>), Failure> {
    let account = view.visitor.account().ok_or(Failure::Forbidden)?.id.clone();
    let found = match view.console.imports.of(&account, view.console.now()) {
        Some(State::Planned(planned)) => Some(planned),
        Some(State::Imported(_)) | None => None,
    };
    Ok((account, found))
}

/// The form for a file once more, because there is none any more.
fn gone(view: View) -> Answer {
    let mut form = Filled::with(&[("format", "auto"), ("maxDeletions", "10%")]);
    form.warn(view.page.t("import-gone"));
    again(&TransferPage::of(view.page, form))
}

async fn plan(view: View) -> Answer {
    let view = view.within(Section::Directory);
    view.needs(Permission::WriteDirectory)?;
    match waiting(&view)? {
        (_, Some(planned)) => show(&PlanPage::of(view.page, Filled::default(), &planned)),
        (_, None) => gone(view),
    }
}

async fn discard(posted: Posted) -> Answer {
    posted.view.needs(Permission::WriteDirectory)?;
    let (account, _) = waiting(&posted.view)?;
    posted.view.console.imports.forget(&account);
    Ok(Redirect::to("/console/transfer").into_response())
}

/// Does what the plan has shown. If something else would be done now, that is shown instead, and nothing is done.
async fn apply(posted: Posted) -> Answer {
    posted.view.needs(Permission::WriteDirectory)?;
    let Posted { view, mut form } = posted;
    let view = view.within(Section::Directory);
    let (account, found) = waiting(&view)?;
    let Some(shown) = found else {
        return gone(view);
    };
    let console = &view.console;
    let (report, fingerprint) = match planned(console.hub(), &shown.options).await {
        Ok(planned) => planned,
        Err(ImportError::Database(error)) => return Err(error.into()),
        Err(error) => return Err(Failure::Conflict(error.to_string())),
    };
    if fingerprint != form.value("plan") {
        let planned = Planned {
            name: shown.name.clone(),
            options: shown.options.clone(),
            folder: Arc::clone(&shown.folder),
            report,
            fingerprint,
        };
        form.warn(view.page.t("import-plan-changed"));
        let page = PlanPage::of(view.page.clone(), form, &planned);
        console
            .imports
            .keep(&account, console.now(), State::Planned(Arc::new(planned)));
        return again(&page);
    }
    // Nobody confirms it a second time while it is done.
    console.imports.forget(&account);
    let working = {
        let (hub, caller) = (console.hub().clone(), view.visitor.caller());
        apart(move || async move {
            let options = Options {
                dry_run: false,
                ..shown.options.clone()
            };
            let report = import::import(&hub, &options, |_, _| {}).await?;
            let (name, told) = (shown.name.clone(), report.clone());
            hub.write_as(caller, move |tx, ctx| import::note(tx, ctx, &name, &told))
                .await?;
            Ok((shown.name.clone(), report))
        })
    };
    match working.await {
        Ok((name, report)) => {
            let state = State::Imported(Arc::new(Imported { name, report }));
            console.imports.keep(&account, console.now(), state);
            done("/console/transfer/result", "imported")
        }
        Err(ImportError::Database(error)) => Err(error.into()),
        Err(error) => Err(Failure::Conflict(error.to_string())),
    }
}

#[derive(Template)]
#[template(path = "transfer_result.html")]
struct ResultPage {
    page: Page,
    told: Told,
}

async fn result(view: View) -> Answer {
    let view = view.within(Section::Directory);
    view.needs(Permission::WriteDirectory)?;
    let account = view.visitor.account().ok_or(Failure::Forbidden)?.id.clone();
    match view.console.imports.of(&account, view.console.now()) {
        Some(State::Imported(imported)) => show(&ResultPage {
            told: Told::of(&imported.name, &imported.report),
            page: view.page,
        }),
        Some(State::Planned(_)) | None => Ok(Redirect::to("/console/transfer").into_response()),
    }
}
