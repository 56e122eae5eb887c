# The console's texts. Every key stands in all languages, with the same arguments; a test holds that.

## Everywhere
skip-to-content = Skip to the content
nav-label = Main
nav-menu = Menu
nav-home = Home
nav-applications = Applications
nav-directory = Directory
nav-audit = Audit log
sign-out = Sign out
crumbs = You are here
pages = Pages
page-first = First page
page-next = Next page
page-older = Older
page-newest = Newest
search = Search
search-further = Search further
filter = Filter
filter-any = Any
filter-since = From
filter-until = Until
show-all = Show all
actions = Actions
copy = Copy
copied = Copied
yes = Yes
no = No
on = On
off = Off
time-never = Never
changed-at = Last changed
span-seconds = { $count } s
span-minutes = { $count } min
span-hours = { $count } h
span-days = { $count ->
    [one] 1 day
   *[other] { $count } days
}
took-millis = { $count } ms
took-seconds = { $count } s
role-administrator = Administrator
role-operator = Operator
role-auditor = Auditor
role-application-owner = Application owner
kind-unit = Unit
kind-group = Group
kind-units = Organizational units
kind-users = Users
kind-groups = Groups and memberships

## Errors
error-home = Go to Home
error-not-found = There is nothing here
error-not-found-advice = The address is wrong, or what was here has been deleted, or your role does not include it.
error-forbidden = Your role does not include this
error-forbidden-advice = Ask an administrator of Rollcall for a role that does.
error-stale = This form is no longer valid
error-stale-advice = You have signed in again since the page was opened. Go back, reload the page and send the form again. Nothing was changed.
error-conflict = This cannot be done now
error-conflict-advice = Nothing was changed. The reason is below; go back, and look at what there is now.
error-internal = The hub could not answer
error-internal-advice = Nothing is known to have changed. Try again; if it stays so, the hub's log has the reason, and “rollcall doctor” looks into it.

## What was done
done-tested = The connection was tested. The result is below.
done-synchronize = The synchronization was asked for. It begins as soon as what came before it has been delivered.
done-cancel = The synchronization was cancelled. What was sent stays sent.
done-pause = Synchronization is switched off. Changes wait until it is switched on again.
done-resume = Synchronization is switched on, and what waits is being sent.
done-resend = { $count ->
    [0] Nothing had to be sent again: later events have replaced what was set aside.
    [one] One event is being sent again.
   *[other] { $count } events are being sent again.
}
done-dismiss = { $count ->
    [one] One event was dismissed. It will not be sent.
   *[other] { $count } events were dismissed. They will not be sent.
}
done-skip = The next event was set aside, and delivery goes on behind it.
done-password = Your password is changed. All your other sessions have ended.
done-push = What is true of the user now is being sent.

## Home
home-lead = How your applications stand, and what needs you.
home-todo = Needs you
home-todo-left = { $count ->
    [one] One more is on the page of its application.
   *[other] { $count } more are on the pages of their applications.
}
home-nothing-to-do = Nothing needs you now. What fails, is refused or was never synchronized appears here, with the button that mends it.
home-no-application = There is no application yet. An application is whatever keeps user accounts of its own and has an address to which Rollcall sends changes.
home-no-application-next = Add the first one, test its connection, and synchronize.
home-in-step = { $count } of { $total } in step
home-all-applications = All { $count } applications
home-nodes = Nodes
home-log-head = Change log at position { $position }
home-no-nodes = No node delivers at the moment. Start one with “rollcall serve”.
nodes-name = Node
nodes-since = Running since
nodes-applications = Applications it delivers to
chart-changes = Changes of the directory
chart-delivered = Events delivered by this node
chart-failed = Failed requests of this node
chart-last-hour = in the last hour
chart-begins = Counting has begun; the first bar comes after a minute.
chart-table = As a table
chart-minute = Minute until
chart-count = Number
chart-nothing = Nothing happened.
todo-suspended = Does not answer
todo-never = Never synchronized
todo-set-aside = { $count ->
    [one] One event set aside
   *[other] { $count } events set aside
}
todo-set-aside-detail = The application refused them. Mend the reason there, then send them again; or dismiss them.
todo-key = Refuses the new signing key
todo-key-detail = The old key goes on signing. Restart the application, or update the keys that it keeps.

## Applications
applications-lead = Every application receives the part of the directory in its synchronization scope.
applications-search = Name of the application
applications-name = Application
applications-state = State
applications-detail = Details
applications-waiting = Sent again
applications-set-aside = Set aside
applications-none = There is no application.
applications-not-found = No application has “{ $text }” in its name.
health-paused = Switched off
health-paused-detail = Nothing is sent, and nothing waits.
health-paused-waiting = Nothing is sent. { $count ->
    [one] One change waits.
   *[other] { $count } changes wait.
}
health-suspended = Suspended
health-suspended-detail = No answer for { $span }: { $reason }
health-synchronizing = Synchronizing
health-synchronizing-detail = { $done } of { $total } sent
health-synchronizing-waits = It begins as soon as what came before it has been delivered
health-lagging = Lagging
health-lagging-detail = { $count ->
    [one] One change waits
   *[other] { $count } changes wait
}, the oldest for { $span }
health-never = Never synchronized
health-never-detail = New changes are sent, but what was in the directory before was never pushed. Test the connection, then synchronize.
health-set-aside = Events set aside
health-set-aside-detail = Everything is delivered but { $count ->
    [one] one event that is set aside
   *[other] { $count } events that are set aside
}. Last full synchronization { $span } ago.
health-in-step = In step
health-in-step-detail = Everything is delivered. Last full synchronization { $span } ago.
action-look-test = Test Connectivity
action-look-deliveries = See deliveries
action-look-keys = See keys
action-resume = Switch on and send now
action-pause = Switch off
action-synchronize = Synchronize
action-cancel = Cancel synchronization
action-resend = Send again
action-resend-all = Send all again
action-dismiss = Dismiss
action-dismiss-all = Dismiss all
action-skip = Skip the next event
action-skip-hint = Sets aside the event that delivery waits for, so that the rest goes on
action-push = Push now

## One application
tabs = { $name }
tab-provisioning = Provisioning
tab-test = Test Connectivity
tab-synchronize = Synchronize
tab-deliveries = Deliveries
tab-keys = Keys
tab-receive = Receive
application-id = Application ID
application-created = Added
application-changed = Settings last changed

## Provisioning
provisioning-sending = What is sent
provisioning-endpoint = Where it is sent
provisioning-protection = Protection
provisioning-limits = Limits
param-synchronize = Synchronize users to application
param-synchronize-hint = While this is off, changes wait.
param-scope = Synchronization scope
param-scope-hint = Users in these units, at any depth, and in these groups.
scope-everything = The whole organization
scope-nothing = Nothing: nobody is sent to this application. Choose units or groups.
param-mode = Mode
mode-event-callback = Event callback: signed events, sent by POST
param-url = URL for receiving synchronization requests
param-url-hint = What stands behind the question mark is hidden.
param-jwks = Public Key Endpoint
param-jwks-hint = The application fetches the public keys here that prove who sends.
param-outbound = Outbound IP Addresses
param-outbound-hint = Let these through the application's firewall.
outbound-unknown = The hub sends from whatever address its network gives it. To have a fixed one, set egress.source in the configuration.
param-encryption = Encryption
param-encryption-hint = Encrypts events inside the signature (AES-256-GCM).
encryption-required = Required
encryption-key-stored = An encryption key is stored. It is never shown again.
encryption-no-key = No encryption key is stored.
param-passwords = Password synchronization
param-passwords-hint = Sends new passwords along. Needs encryption or an https URL.
events-incremental = Events: incremental
events-full = Events: full synchronization
events-hint = What is crossed out is not sent.
limit-events = Events in one request, at most
limit-bytes = Bytes of event data in one request, at most
limit-lanes = Requests in flight at once
limit-rate = Requests per second, at most
limit-none = As fast as the application answers

## Test Connectivity
test-lead = Sends a test event to the application and looks at each step of its way. Nobody's data is sent.
test-lead-scim = Asks the application what it can do, and for a user and a group that nobody has. Nothing is made or changed there.
test-again = Test again
test-none = Not tested since the hub was started. The test goes to:
test-passed = The connection works
test-assumed = The connection works, but the answer leaves something open
test-failed = The connection does not work
step-resolve = Look up the host name
step-connect = Connect
step-tls = Secure the connection (TLS)
step-sign = Make and sign the event
step-status = Send it and get a status
step-answer = Understand the answer
step-event = The event in the answer
step-discover = What the application says of itself
step-users = Look for a user
step-groups = Look for a group
step-profile = Compare with the settings
step-passed = passed
step-failed = failed
step-assumed = not confirmed
step-skipped = not applicable

## Synchronize
synchronize-lead = Pushes every unit, user and group in scope. Changes in the meantime are sent afterwards; nothing is lost.
synchronize-none-running = No synchronization is running.
synchronize-history = History
synchronize-never = Nothing was pushed to this application yet. Test the connection, then synchronize: the application gets everybody in its scope.
job-asked = Asked for
job-status = Result
job-took = Duration
job-by-kind = By kind
job-full = Full synchronization
job-scope = Change of scope
job-preparing = Preparing
job-pending = Waiting
job-running = Running
job-success = Done
job-partial = Done, with refusals
job-failed = Failed
job-cancelled = Cancelled
job-progress = { $done } of { $total } sent
job-pace = { $rate } a second, { $left } left
trigger-manual = by hand
trigger-retention = because the application fell behind the change log
trigger-restore = after a backup was restored
tally-total = Total
tally-accepted = Accepted
tally-skipped = Skipped
tally-assumed = Assumed
tally-refused = Refused
tally-accepted-count = { $count } accepted
tally-skipped-count = { $count } skipped
tally-assumed-count = { $count } assumed
tally-refused-count = { $count } refused or wanted again
tally-none = none
inventory-accepted = The application was told at the end what should be there, and has removed the rest.
inventory-assumed = The application was told at the end what should be there. Its answer does not say whether it has removed the rest.
inventory-not-understood = The application does not understand the closing inventory: what it has besides stays there.

## Deliveries
deliveries-title = Requests
deliveries-lead = Every request to the application, the newest first.
deliveries-none = Nothing was sent yet. As soon as somebody in scope changes, the request appears here.
deliveries-none-found = No request fits this filter.
deliveries-cut = Not everything was looked at yet.
aside-title = Set aside
aside-lead = The application refused these events. Mend the reason there, then send them again.
filter-outcome = Outcome
filter-subject = About
filter-subject-hint = Username, e-mail or ID
filter-unknown-subject = Nobody in the directory is called “{ $text }”, so it is looked for as an ID.
outcome-any = Any
outcome-accepted = Accepted
outcome-troubled = Not simply accepted
event-subject = About
event-type = Event
event-time = Time
event-tries = Tries
event-answer = Answer
event-result = Result
event-record = Record
event-show = Show
event-position = position { $position }
event-accepted = Accepted
event-skipped = Skipped
event-refused = Refused
event-retried = Wanted again
event-assumed = Assumed
event-not-taken = Not taken
attempt-title = Request
attempt-back = All requests
attempt-time = Sent
attempt-outcome = Outcome
attempt-carried = Carried
attempt-events = Events
attempt-try = Try
attempt-next = next try
attempt-took = Duration
attempt-status = Answer
attempt-no-answer = None
attempt-range = changes { $from } to { $to }
attempt-accepted = Accepted
attempt-refused = Some refused
attempt-retried = Some wanted again
attempt-skipped = Some skipped
attempt-unnamed = Some not named
attempt-assumed = Assumed
attempt-failed = Failed
source-log = Changes
source-parked = Sent again
source-job = Synchronization
source-test = Connection test
source-key-trial = Trial of a key
decoded-title = Request, decoded
decoded-lead = What the signed envelope says. Times of validity are new with every try, and are not kept.
events-gone = None of the changes in this range is kept any more, or none concerned this application.
events-not-kept = What a synchronization or a test sends is read from the directory at that moment and not kept. Everything in it was accepted.
events-exceptions-only = Only what was not simply accepted is kept of such a request.
events-cut = Only the first events are shown.

## Keys
keys-title = Signing keys
keys-lead = Every application has keys of its own. A new key signs only after the application has accepted a test under it.
key-id = Key
key-state = State
key-published = Published
key-signs-from = Signs since
key-goes = Disappears
key-current = Signs
key-next = Waits for its trial
key-retiring = Retiring
rotation-refused = The application refuses the new key
rotation-refused-advice = The old key goes on signing, so nothing is lost. Restart the application, or update the keys that it keeps.
rotation-since = since
rotation-tries = { $count ->
    [one] tried once
   *[other] tried { $count } times
}
rotation-trial = next trial
rotation-published = A new key is published and waits for its trial
rotation-due = The trial of the new key is due, or told nothing
rotation-retiring = A new key signs; the one before is still published
rotation-goes = disappears

## Receive
receive-values = Values for the developers
receive-lead = Everything that the application has to know. None of it is secret.
receive-issuer = Issuer
receive-algorithm = Protection
receive-signed = Signed with RS256, not encrypted
receive-encrypted = Signed with RS256, encrypted with A256GCM; the key was shown once when it was made
receive-checks = What a receiver does with each request
receive-check-key = Take the key that the header names from the Public Key Endpoint, and verify the signature (RS256 only).
receive-check-claims = Check issuer, audience and times; refuse everything else with a 4xx status.
receive-check-open = Decrypt cipherData if the event is encrypted, or else read plainData.
receive-check-once = Apply each event once: remember the event IDs, since a request whose answer was lost comes again.
receive-check-answer = Answer within 10 seconds with status 200, and name each event in one of the four lists: success, skipped, failed, retried.
receive-mirror = Without writing a receiver
receive-mirror-lead = rollcall-mirror receives, checks and keeps everything in a database of your own.

## Directory
directory-lead = Organizational units, users and groups: what applications are kept in step with.
directory-lead-part = You see what is in the synchronization scope of your applications.
users-none-part = Nobody is here. Whoever comes into the scope of your applications appears here.
groups-none-part = No group is in the scope of your applications.
groups-none-yet = No group was found yet; not all were looked at.
directory-everybody = Everybody
tree-label = Organizational units
tree-cut = Not all units are shown here. Open one to see what is below it.
tab-users = Users
tab-groups = Groups
users-of-all = All users
users-of-unit = Users in { $name }
users-search = Name, username, e-mail or phone
users-none = Nobody is here. Create the first user, or import people from a file.
at-the-command-line = At the command line:
users-none-found = Nobody has “{ $text }” in the name, username, e-mail address or phone number.
users-none-yet = Nobody was found yet; not everybody was looked at.
users-search-unfinished = Not everybody was looked at yet.
user-name = Name
user-username = Username
user-email = E-mail
user-phone = Phone
user-state = State
user-enabled = Enabled
user-disabled = Disabled
user-locked = Locked
user-locked-until = Locked until
user-expires = Account ends
user-description = Description
user-password = Password
user-password-set = Set
user-password-none = Not set
user-id = User ID
user-who = Who it is
user-places = Stands in
user-primary = primary
user-no-groups = In no group.
user-applications-lead = Whether this user is in scope, what each application was told last, and what it answered.
user-in-scope = Scope
user-explain = Explain
user-last-event = Told last
user-by-synchronization = Full synchronization
user-pushed = Pushed
user-not-told = Not told yet
user-first-applications = First applications
user-more-applications = More applications
in-scope = In scope
not-in-scope = Not in scope
groups-search = Name of the group
groups-none = There is no group yet. A group gathers users across units, and can be a synchronization scope.
groups-none-found = No group has “{ $text }” in its name.
group-name = Group
group-members = Members
group-no-members = Nobody is in this group.
explain-title = { $user } at { $application }
explain-through = In scope through
explain-stands = Stands in
explain-scope = The scope is
explain-changes = Changes of this user, and what became of them
explain-no-changes = The change log does not know a change of this user any more.
explain-change = Change
explain-event = Event sent
explain-jobs = Full synchronizations
explain-included = Included
fate-not-for-it = Not for it
fate-waiting = Waiting
fate-delivered = Delivered
fate-assumed = Assumed
fate-skipped = Skipped
fate-sent-again = Sent again, taken
fate-dismissed = Dismissed
fate-set-aside = Set aside
fate-held = Waits behind another
fate-retrying = Being sent again
fate-settled = Settled

## Audit log
audit-lead = Who did what, when and from where. Secrets are never recorded.
audit-csv = Download as CSV
audit-who = Who
audit-origin = From where
audit-action = Action
audit-target = On what
audit-what = What changed
audit-show = Show
audit-before = Before
audit-after = After
audit-none = No entry fits this filter.
audit-none-yet = No entry was found among the newest; look further back.

## Signing in
sign-in = Sign in
sign-in-name = Username
sign-in-password = Password
sign-in-wrong = The name or the password is wrong, or the account is disabled.
sign-in-too-early = { $count ->
    [one] Too many sign-ins have failed. Try again in one second.
   *[other] Too many sign-ins have failed. Try again in { $count } seconds.
}
sign-in-busy = Too many people sign in at this moment. Try again in a few seconds.
sign-in-provider = Sign in with your organization's account
sign-in-no-passwords = Passwords are switched off here. Sign in at the provider.
sign-in-disabled = Your account in Rollcall is disabled. An administrator of Rollcall can enable it.
provider-unavailable = The provider cannot be reached at this moment. Try again in a few minutes; who has a password here can sign in with it.
provider-distrusted = The provider's answer cannot be trusted, so nobody is signed in. The log of Rollcall says why; an administrator has to look into it.
provider-stale = This answer belongs to no sign-in that this browser has begun in the last ten minutes. Sign in again.
provider-refused = The provider did not sign you in: { $reason }.
provider-no-name = The provider does not say what a new account is to be called: the claim { $claim } holds no name that an account may have. An administrator of Rollcall has to look into it.
provider-no-role-title = You have no role here
provider-no-role = The provider says who you are, but nothing that the claim { $claim } holds permits anything in Rollcall. It holds:
provider-claim-empty = The provider says who you are, but not what you may do in Rollcall: the claim { $claim } holds nothing.
provider-name-taken-title = The name is taken
provider-name-taken = There is another account in Rollcall that is called { $name }, and a name alone does not make it yours. The provider knows you as:
provider-name-taken-advice = If that account is yours, an administrator can give it to you:
provider-ask = Whom to ask:
provider-ask-administrator = Ask an administrator of Rollcall.
signed-out = You are signed out of Rollcall
signed-out-lead = You may still be signed in at the provider, and then come back here without a password.
signed-out-provider = Sign out at the provider too
sign-in-help = No account, or the password is lost? An administrator of Rollcall can help.
password-title = Choose a password
password-lead = The one that you have signed in with was for one time. Choose one of your own to go on.
password-old = Present password
password-new = New password
password-again = New password, again
password-hint = At least 12 characters. Several words are better than special characters.
password-differs = The two new passwords are not the same.
password-wrong = The present password is wrong.
password-refused = This password is not accepted: it needs 12 to 256 characters, and must be neither the account's name, nor the present one, nor one of those that are tried first.
password-save = Save and go on

## Directory: forms
form-edit = Edit
form-save = Save
form-delete = Delete
form-remove = Remove
form-move = Move
form-cancel = Cancel
form-back = Back to { $name }
form-wrong = Nothing was saved. What has to be changed is marked below.
form-changed = Nothing was saved: somebody else has changed this since you opened it. Where that differs from what you typed, it is shown below. Send the form again to save yours, or cancel to keep theirs.
form-plan-changed = Nothing was deleted: what would be deleted has changed since it was shown. Look at it again below, and confirm it.
form-now = Now there is: { $value }
form-now-empty = Now this is empty.
form-taken = Taken by { $holder }. Choose another, or change that one first.
error-changed = Somebody else was faster
error-changed-advice = What you wanted to change has been changed since the page was opened. Nothing was done. Go back, reload the page, and do it again if it is still right.
rule-username = 1 to 256 characters: A–Z, a–z, 0–9 and _ . @ -
rule-name = 1 to 128 characters, all of which can be seen.
rule-email = An e-mail address of at most 128 characters, such as ada@example.com.
rule-phone-number = 6 to 15 digits and nothing else, together with the country.
rule-phone-region = The digits of the country without + or 00, such as 86.
rule-description = At most 256 characters.
rule-external-id = At most 128 characters.
rule-custom = At most 100 fields, with names of at most 64 and values of at most 1,024 characters.
rule-password = 8 to 256 characters.
rule-time = A day and a time, such as 2027-01-31T18:00.
rule-units = At most 199 further units.
rule-other = This is not accepted.
unit-unknown = There is no unit “{ $text }”. Write its path from the top, such as Engineering/Optics.
unit-ambiguous = “{ $text }” is the path of one unit and the ID of another. Write id: before an ID.
group-unknown = There is no group “{ $text }”.
group-ambiguous = “{ $text }” is the name of one group and the ID of another. Write id: before an ID.
user-unknown = There is no user “{ $text }”. Nobody was added. Write usernames or e-mail addresses.
user-ambiguous = “{ $text }” means more than one user. Write name:, email: or id: before it.
unit-cycle = A unit cannot stand below itself.
unit-path-hint = The path from the top, such as Engineering/Optics; / is the top.
external-id = External ID
external-id-hint = The ID in the system it comes from, if there is one.
confirm-type = To confirm, type { $name }
confirm-differs = Nothing was deleted. Type exactly { $name }
done-user-created = The user was created. Applications that have the user in scope are told now.
done-user-changed = The user was saved.
done-user-moved = The user's units were saved.
done-user-enabled = The user may sign in again.
done-user-disabled = The user may not sign in any more.
done-user-locked = The user is locked.
done-user-unlocked = The user is unlocked.
done-user-password = The password was set.
done-user-deleted = The user was deleted. Applications are told now.
done-unit-created = The unit was created.
done-unit-changed = The unit was saved.
done-unit-moved = The unit was moved, with everything below it.
done-unit-deleted = The unit was deleted.
done-group-created = The group was created. Now add its members.
done-group-changed = The group was saved.
done-group-deleted = The group was deleted. Its members stay.
done-member-added = The membership was saved.
done-member-removed = The membership was ended.
user-new = New user
user-new-lead = The user comes into the scope of applications at once, and they are told.
user-create = Create user
user-edit-title = Edit { $name }
user-name-hint = As people know them: 1 to 128 characters.
user-primary-unit = Primary unit
user-further-units = Further units
user-further-units-hint = One path in each line. Leave it empty if there are none.
user-password-new = Password
user-password-optional = 8 to 256 characters. May stay empty: then the user has none yet.
user-phone-region = Country code
user-phone-region-hint = Digits, such as 86
user-phone-hint = 6 to 15 digits
user-email-verified = The e-mail address was proven
user-phone-verified = The phone number was proven
user-expires-hint = In your time zone. Leave it empty if the account does not end.
user-custom = Custom fields
user-custom-hint = Fields of your own, which applications receive. Clear a name and its value to remove one; save to get more rows.
custom-name = Name of custom field { $count }
custom-value = Value of custom field { $count }
custom-name-short = Name
custom-value-short = Value
custom-no-name = “{ $value }” has no name.
custom-twice = There are two fields “{ $name }”.
user-make-disabled = Create disabled
user-make-disabled-hint = The user may not sign in until somebody enables them.
user-units-title = Units of { $name }
user-units-lead = A user stands in one primary unit and may stand in others. Applications that have none of them in scope any more are told that the user is gone.
user-groups-title = Groups of { $name }
group-add = Group
group-add-hint = Name or ID of a group
group-join = Add to group
user-lock-title = Lock { $name }
user-lock-lead = A locked user cannot sign in until the lock ends or somebody unlocks them.
user-lock-until = Until
user-lock-until-hint = In your time zone. Leave it empty to lock until somebody unlocks.
lock-past = This time has passed. Choose a later one.
action-lock = Lock
action-unlock = Unlock
action-enable = Enable
action-disable = Disable
user-password-title = Password of { $name }
user-password-lead = Applications with password synchronization receive the new password; all others only learn that it has changed.
password-make-title = Make one up
password-make-lead = A random password is set and shown to you once. Give it to the user on a safe way.
password-make = Make up and show once
password-set-title = Choose one
password-set = Set password
once-password-title = New password of { $name }
once-password-label = Password
once-password-lead = It is valid already. Give it to the user on a safe way, and ask them to change it.
once-warning = This is shown once and cannot be shown again. Keep it now.
once-done = I have kept it
user-delete-title = Delete { $name }
user-delete-lead = Applications that have the user in scope are told to delete the account.
delete-how = How
delete-only = Delete
delete-only-hint = The user leaves the directory. The change log and the audit log still know them.
delete-erase = Delete and erase every record
delete-erase-hint = Also takes the user's data out of the change log and of what was said by applications, as the law may demand. It cannot be undone.
erased-title = { $name } is erased
erased-lead = Records of { $changes } changes and parts of { $attempts } requests are gone.
erased-files = The database's files may still hold parts until they are overwritten. On PostgreSQL run VACUUM, and let old backups go.
erased-others = These may be the same person
erased-others-lead = They have shared a name, an address or an external ID with the user, and are not erased. Judge for yourself.
unit-new = New unit
unit-new-below = New unit below
user-new-here = New user here
unit-create = Create unit
unit-name = Name of the unit
unit-parent = Below
unit-edit-title = Edit { $name }
unit-move-title = Move { $name }
unit-move-lead = Everything below moves along. Applications are told who leaves their scope and who enters it.
unit-delete-title = Delete { $name }
unit-delete-lead = This deletes all that the plan names. Applications are told of each of them.
plan-title = What is deleted
plan-units = { $count ->
    [one] One unit
   *[other] { $count } units
}
plan-users = { $count ->
    [one] One user, whose primary unit goes
   *[other] { $count } users, whose primary unit goes
}
plan-staying = { $count ->
    [one] One user stays and loses a further unit
   *[other] { $count } users stay and lose a further unit
}
plan-groups = { $count ->
    [one] One group loses members
   *[other] { $count } groups lose members
}
plan-more = and { $count } more
group-new = New group
group-create = Create group
group-edit-title = Edit { $name }
group-delete-title = Delete { $name }
group-delete-lead = Its members stay in the directory. Applications with this group in their scope are told of users who leave it.
members-add = Add members
members-add-hint = Usernames or e-mail addresses, one in each line
members-nobody = Write at least one username or e-mail address.
members-too-many = At most { $count } can be added at once. For more, import a file.
user-change-units = Change units
user-change-groups = Change groups
user-through = through { $names }

## Accounts, tokens, sessions
nav-access = Access
tab-accounts = Accounts
tab-tokens = API tokens
accounts-lead = Who may sign in to this console, and what they may do.
access-role = Role
role-administrator-hint = May do everything.
role-operator-hint = Sees applications and the directory; tests, synchronizes, sends again and skips.
role-auditor-hint = Sees everything, the audit log too, and changes nothing.
role-application-owner-hint = Sees, tests and repairs some applications, and of the directory what is in their scopes.
role-choose = Choose a role.
owner-of = Applications of the owner
owner-of-hint = Names or IDs, one in each line. Counts for application owners only.
owner-applications = An application owner has 1 to 500 applications: write a name or an ID in each line.
application-unknown = There is no application “{ $text }”.
application-ambiguous = “{ $text }” means more than one application. Write its ID.
account-new = New account
account-new-lead = The account gets a one-time password, which is shown once and has to be changed at the first sign-in.
account-create = Create account
account-name = Username
account-name-hint = For people. May stay empty.
rule-account-name = 1 to 64 characters that can be seen, without spaces; it must not begin with acc_.
account-taken = There is an account “{ $name }” already. Choose another name.
account-last = Nothing was changed: { $name } is the only administrator who may sign in. Make somebody else administrator first.
account-edit-title = Edit { $name }
account-what = Account
account-id = Account ID
account-waits = Waits for the first sign-in
account-elsewhere = None: signs in elsewhere
account-one-time = One-time, to be changed at the next sign-in
account-last-sign-in = Last sign-in
account-reset = Reset password
account-delete-title = Delete account { $name }
account-delete-lead = Its sessions end at once. Tokens that it has made stay; revoke them if they are not needed any more.
account-no-sessions = Nobody is signed in with this account.
once-account-title = One-time password of { $name }
once-account-label = One-time password
once-account-lead = Give it to them on a safe way. It has to be changed at the first sign-in.
once-token-title = Token { $name }
once-token-label = Token
once-token-lead = Programs send it in the header Authorization: Bearer.
done-account-created = The account was created.
done-account-changed = The account was saved. What it may do is different from now on.
done-account-enabled = The account may sign in again.
done-account-disabled = The account may not sign in any more, and its sessions have ended.
done-account-deleted = The account was deleted.
done-token-revoked = The token is good for nothing any more.
done-sessions-ended = The sessions have ended.
tokens-lead = Programs use the API with tokens. Each has a role, and an end.
tokens-none = There is no token. A token lets a program use the API: a script that reads deliveries, say, or a provisioning pipeline.
token-new = New token
token-new-lead = The token is shown once. Give it the smallest role with which the program can do its work.
token-create = Create token
token-name = What it is for
token-name-hint = Such as the name of the program: 1 to 64 characters.
token-made = Made
token-used = Last used
token-expires = Expires
token-expired = Expired
token-begins = Begins with
token-days = Days until it expires
rule-days = A number from 1 to 366.
token-never = Never expires
token-never-hint = Only where nobody could replace it in time. It stays valid until somebody revokes it.
token-revoke = Revoke
token-revoke-title = Revoke { $name }
token-revoke-lead = Whatever uses this token cannot use the API any more, at once and for good.
sessions-own = Your sessions
sessions-lead = Where you are signed in. End what you do not recognize, and change your password then.
sessions-title = Sessions
sessions-password = Change password
sessions-end-others = End all others
sessions-end-all = End all
session-since = Since
session-seen = Last used
session-address = Address
session-program = Browser
session-here = This one
session-end = End
password-change-lead = All your other sessions end with it.

## One application: pushing by SCIM
mode-scim = SCIM 2.0: requests that make the users and groups of the application
mode-to-scim = Push by SCIM instead
mode-to-callback = Send event callbacks instead
scim-edit = Push by SCIM
scim-switch-lead = The application gets requests of SCIM 2.0 instead of event callbacks from now on. Synchronize afterwards, so that it has everybody.
scim-new = Add application by SCIM
scim-new-lead = A product that others have made, with a SCIM 2.0 address for users and groups of its own.
scim-new-instead = The application takes SCIM 2.0 instead
scim-url = Base URL
scim-url-hint = The address below which Users and Groups are. It begins with https://.
scim-url-rule = Write the whole address, such as https://app.example.com/scim/v2. It begins with https://, because the secret would otherwise travel in the clear, and has neither a user name, a password nor a part behind ? or #.
scim-preset = Product
scim-preset-hint = Whose ways the usual mapping and the profile follow. Another choice puts in its profile; what you change below comes on top.
preset-standard = Any: what the standard says
preset-entra-gallery = Made for the gallery of Microsoft Entra ID
preset-slack = Slack
preset-github = GitHub, with managed users
preset-aws = AWS IAM Identity Center
preset-cloud-sso = Alibaba Cloud CloudSSO
scim-authentication = How Rollcall proves who it is
scim-bearer = A token
scim-bearer-hint = One that an administrator of the application has made.
scim-client = OAuth 2.0, client credentials
scim-client-hint = Rollcall gets tokens for itself, with a client id and a secret, and gets new ones before they end.
scim-client-only = For client credentials only.
scim-secret = Secret
scim-secret-hint = The token, or the client's secret. It is stored encrypted and never shown. Leave it empty to keep the one that is stored.
scim-secret-missing = Enter the token, or the client's secret.
scim-secret-unusable = This cannot be sent: letters, digits and signs without spaces, at most 16,384 of them.
scim-secret-for-another = The secret that is stored was entered for another address. Enter the one for the new address.
scim-secret-stored = A secret is stored. It is never shown.
scim-secret-none = No secret is stored.
scim-token-url = Token URL
scim-client-id = Client id
scim-client-id-missing = Enter the client id.
scim-token-scope = Scope of the tokens
scim-token-scope-hint = Only if the token URL wants one.
scim-secret-in = Where the secret goes
secret-in-header = Into the header (client_secret_basic)
secret-in-body = Into the body (client_secret_post)
scim-actions = What is done
scim-action-create = Make users
scim-action-create-hint = Otherwise only those who are there already are kept up to date.
scim-action-update = Change users
scim-action-delete = Deal with those who leave
scim-action-delete-hint = Otherwise they stay as they are.
scim-groups = Groups too
scim-groups-hint = Groups in scope are made with their members. Leave it off if the application has no groups.
scim-leavers = Users who are deleted or leave the scope
leavers-disable = Are disabled
leavers-disable-hint = They stay, and are not active any more. Groups are deleted.
leavers-delete = Are deleted
leavers-delete-hint = The application deletes them.
leavers-release = Are released
leavers-release-hint = They stay as they are, and Rollcall has nothing more to do with them.
scim-mapping = What a user is there
scim-mapping-lead = An attribute of SCIM and an expression on the fields of the user in each line.
scim-mapping-lines = Mapping
scim-mapping-hint = Such as title = customFields.title. An attribute that stands in no line is not sent. userName and externalId have to be there.
scim-mapping-line = This line has no =: { $line }
scim-mapping-wrong = This cannot be used: { $why }
scim-preview = Preview
scim-preview-users = Users to preview
scim-preview-users-hint = Usernames with commas between them. Leave it empty for the first in scope. Nothing is saved or sent.
scim-preview-title = These users, as the application would have them
scim-preview-nobody = Nobody is in scope.
scim-preview-outside = not in scope
scim-preview-refused = This user cannot be sent:
scim-preview-unknown = One of these users does not exist, or there are more than 20.
scim-profile = How the application wants to be spoken to
scim-profile-lead = The product's own documentation says so; Test Connectivity finds the rest.
scim-users-by = Users are changed
scim-groups-by = Groups are changed
scim-by-patch = By PATCH: what differs
scim-by-put = By PUT: the whole
scim-by-change = By PATCH: who joins and who leaves
scim-by-replace = By PATCH: all members
scim-removal = Members are removed
removal-by-filter = One by one, by a filter
removal-by-list = In a list
scim-paths = Operations of PATCH name the attribute by a path
scim-finds = Users can be looked for by externalId
scim-finds-hint = Where they cannot, they are found by their names alone.
scim-etags = Changes name the version that they change
scim-members-at-once = Members in one request, at most
scim-page-size = Users on one page of a list
scim-rate-requests = Requests, at most
scim-rate-seconds = In so many seconds
scim-rate = { $requests } requests in { $seconds } seconds
callback-edit = Send event callbacks
callback-edit-lead = The application gets signed events from now on, and no requests of SCIM any more. Its secret is deleted. Events are not encrypted until you have it so.

## One application: forms
done-application-created = The application is added.
done-application-saved = The settings were saved. They hold from the next request on.
done-encryption-key = The encryption key was stored, and events are encrypted with it from now on.
application-new = Add application
application-new-lead = Whatever keeps user accounts of its own and has an address that Rollcall can send changes to.
application-create = Add application
application-edit = Edit settings
application-edit-lead = Only what you change is saved; it holds from the next request on.
application-name = Name
application-name-rule = 1 to 128 characters, and no other application's name.
application-name-taken = Another application has this name. Choose another one.
application-url-hint = The whole address, beginning with https:// (or http:// within your own network). What stands behind a question mark is hidden once it is saved.
application-url-rule = Write the whole address, such as https://app.example.com/events: it begins with https:// or http://, names a host, and has neither a user name, a password nor a part behind #.
application-url-hidden = The part behind the question mark is hidden. Leave the address as it was to keep it, or write all of it anew.
application-changed-meanwhile = Nothing was done: somebody else has changed this application since you opened the page. Look at it below, and send the form again if it is still right.
limit-between = A whole number from { $least } to { $most }.
limits-lead = The defaults suit most applications.
limits-edit = Edit limits
limit-events-hint = 1 to 500
limit-bytes-hint = 16,384 to 2,097,152. A single larger event is sent alone.
limit-lanes-hint = 1 to 32. More is faster, if the application can do several things at once.
limit-rate-hint = Leave it empty to send as fast as the application answers.
extent-chosen = Choose units and groups next
extent-chosen-hint = Nobody is sent to the application until you have.
extent-everything-hint = Every unit, user and group. You can narrow it later.
protection-edit = Edit protection
passwords-precondition = Needs encryption, or a receiving URL that begins with https://.
passwords-warning = With password synchronization the application receives the new password of a user in plain text within the event. Switch it on only for applications that keep passwords of their own.
passwords-in-the-clear = Passwords would travel in the clear. Require encryption, or use a receiving URL that begins with https://.
encryption-edit = Encryption key
encryption-edit-lead = Events are encrypted inside the signature with AES-256-GCM. The application needs the same key.
encryption-require = Require encryption
encryption-needs-key = There is no encryption key yet. Generate or enter one first.
encryption-generate = Generate a key
encryption-generate-hint = It is shown to you once; give it to the application.
encryption-enter = Enter a key
encryption-enter-hint = One that the application has made.
encryption-off = No encryption
encryption-off-hint = Events are signed only. Whoever can read the connection can read them.
encryption-key = Key
encryption-key-rule = 64 hexadecimal digits (0–9, a–f), which is 256 bits.
encryption-key-made = Encryption key of { $name }
encryption-key-lead = Enter it at the application. Rollcall encrypts with it from the next request on.
encryption-store = Use this key
encryption-replace-warning = The key that is used now is replaced at once. Until the application has the new one it cannot read what is sent; nothing is lost, it is sent again.
meanwhile-title = What others have changed meanwhile
something-else = Something else
step-publish = A new signing key was published
step-try = The new signing key is tried at once
step-withdraw = The new signing key was withdrawn
step-revert = The earlier signing key signs again
step-replace = The signing key was replaced at once
events-title = Subscribed events
scope-edit = Edit scope
subscription-edit = Edit events
done-scope = The scope is changed. Whoever enters or leaves is told now.
done-subscription = The subscribed events are changed, for everything that happens from now on.
scope-edit-lead = Choose whose accounts the application gets. Before anything changes you see who enters and who leaves.
scope-groups = Groups
scope-groups-lead = The members of a ticked group are in scope, wherever they stand.
scope-no-groups = There is no group yet.
scope-more-groups = There are more groups; search for the one you want. What is ticked stays ticked.
scope-units-lead = A ticked unit is in scope with everything below it, also what is added there later.
scope-units-search = Name of the unit
scope-units-none-found = No unit has “{ $text }” in its name.
scope-more-units = There are more units; write more of the name. What is ticked stays ticked.
scope-tree = Back to the tree
scope-tree-cut = Not all units have room here. Close those that you do not need.
scope-further = Also ticked
scope-covered = How many users this covers
scope-users = { $count ->
    [0] Nobody is covered by what is ticked.
    [one] One user is covered by what is ticked.
   *[other] { $count } users are covered by what is ticked.
}
scope-count = Count again
scope-changed-meanwhile = Nothing was changed: somebody else has changed this application since you opened the page. What you ticked is applied to what there is now; look at it, and go on if it is right.
scope-busy = Nothing was changed: a synchronization is under way. Wait until it has ended, or cancel it under Synchronize, and confirm again.
scope-gone = One of the units or groups that were ticked has been deleted meanwhile. It is taken out; look at the rest, and go on.
scope-unchanged = This is what the scope is already. Tick or untick something first.
tree-below = Units below { $name }
tree-covered = covered
plan-title-scope = Change of scope
plan-title-events = Change of events
plan-lead = Nothing is changed yet. This is what would happen.
plan-show = Show what changes
plan-changed = Nothing was changed: what would happen is not any more what was shown. This is how it is now; confirm it if it is right.
plan-added = Added
plan-removed = Removed
plan-nothing = Nothing
plan-enter = Who enters
plan-enter-none = Nobody enters.
plan-leave = Who leaves
plan-leave-none = Nobody leaves.
plan-back = Change the choice
plan-confirm-scope = Change the scope
plan-confirm-events = Change the events
count-users = { $count ->
    [one] 1 user
   *[other] { $count } users
}
count-units = { $count ->
    [one] 1 unit
   *[other] { $count } units
}
count-groups = { $count ->
    [one] 1 group
   *[other] { $count } groups
}
subscription-edit-lead = Choose which events the application is sent.
subscription-unchanged = These are the subscribed events already. Tick or untick something first.
subscription-effect = This holds for everything that happens from now on. What was sent stays sent; to bring the application up to date, synchronize.
subscription-nothing = No event is left: nothing that happens from now on is sent to the application.
events-test = Events: test and inventory
events-test-lead = Always sent: a test when somebody asks for one, an inventory at the end of a full synchronization.
events-all = All events
events-none = No events
done-application-deleted = The application was deleted with its keys and its history. The accounts that it holds stay as they are there.
done-key-rotate = A new key is published. It signs as soon as the application has accepted a test under it.
done-key-try = The trial is due now; its result is shown here in a moment.
done-key-withdraw = The new key was withdrawn. The old one goes on signing.
done-key-revert = The earlier key signs again.
done-key-replace = The new key signs from now on, and every key before it is withdrawn. Have the application fetch the public keys again, then test the connection.
application-delete = Delete application
application-delete-lead = It is sent nothing any more. Nobody's account is deleted there.
application-delete-warning = Keys, history and settings of the application go and cannot be brought back. Accounts that owned nothing but this application see nothing any more.
deletion-behind = Changes that it has not been told of
deletion-waiting = Events that are being sent again
deletion-set-aside = Events that are set aside
deletion-synchronization = Synchronization
deletion-ends = The one that is under way ends.
deletion-keys = Signing keys that are withdrawn
key-proved = Last accepted
rotate-title = Rotate the signing key
rotate-lead = A new key is published at once, tried after a while, and signs when the application accepts it. Until then the present one signs, so nothing breaks.
rotate-waits = A new key is published and waits for its trial.
rotate-hours = Try it after so many hours
rotate-hours-rule = 0 to 720. Longer than the application keeps the public keys.
rotate-begin = Publish a new key
rotate-try = Try it now
rotate-withdraw = Withdraw the new key
rotate-revert = Sign with the earlier key again
rotate-under-way = Nothing was done: a new key waits for its trial already. Try it now or withdraw it.
rotate-not-under-way = Nothing was done: no new key waits for a trial any more.
revert-nothing = Nothing was done: there is no earlier key any more. One is kept for about half an hour after it signed last.
keys-changed = Nothing was done: the application has been changed since you opened this page. Look at the keys as they are now, and do it again if it is still right.
replace-title = A key was stolen
replace-warning = Only if somebody else may have the signing key: a new key signs at once, untried, and all others are withdrawn. An application that keeps the public keys refuses everything until it fetches them again. Nothing is lost; changes wait.
replace-sure = I have read this, and can have the application fetch the keys
replace-unsure = Nothing was done. Tick this first.
replace-key = Withdraw all keys and sign with a new one
action-resend-ticked = Send the ticked ones again
action-dismiss-ticked = Dismiss the ticked ones
action-resend-since = Send all since then again
aside-many = Many at once
aside-at = Set aside
aside-change = Change of
aside-since = Set aside since
aside-tick = Choose
nothing-ticked = No event was ticked. Go back, and tick those that are meant.
download = Download
receive-environment = Environment file
receive-environment-hint = The samples below read it.
receive-test = Test event
receive-test-lead = Sends a test event to the receiving URL and shows each step of its way. Nobody's data is sent.
receive-test-send = Send a test event
receive-samples = Receivers to begin with
receive-samples-lead = They work as they are, together with the environment file; add what your application does with an event.
receive-node = Node.js, nothing to install
receive-python = Python, with the package cryptography
receive-documents = For more:
receive-guide = Guide for developers
receive-protocol = Wire document
invitation-title = Invite a developer
invitation-lead = Makes an account that sees, tests and repairs this application and nothing else.
invitation-begin = Invite
invitation-make = Make the account
invitation-made = Invitation to { $name }
invitation-made-lead = The username is { $name }. Give both to the developer on a safe way; the password has to be changed at the first sign-in.
invitation-password = One-time password

## Import and export
tab-transfer = Import and export
transfer-lead = The whole directory as a file: to begin with, to keep in step with another system, or to take away.
export-download = Download
import-title = Import
import-lead = The directory becomes what the file says. Only differences become changes, and importing a file again changes nothing.
import-file = File
import-file-hint = CSV, LDIF or JSON Lines, at most { $count } MiB. Larger files are imported at the command line.
import-format = Format
import-format-auto = As the name says (.csv, .ldif, .jsonl)
import-more = More choices
import-owner = Owner
import-owner-hint = TYPE:ID, such as ldap:example. The import then leaves alone what belongs to others.
import-adopt = Take over what belongs to others
import-adopt-hint = What is in the file belongs to the owner from now on.
import-delete = Delete what is missing in the file
import-delete-hint = Of what belongs to the owner.
import-limit = Delete nothing if more than this would go
import-mapping = Other names of columns or attributes
import-mapping-hint = FIELD=NAME, one in each line, such as username=Login.
import-base = LDIF: the entry that is the top here
import-base-hint = Such as dc=example,dc=org.
import-preview = Show the plan
import-preview-hint = Nothing is changed yet.
import-no-file = Choose a file that is not empty.
import-too-large = The file is larger than { $count } MiB. Import it at the command line.
import-no-format = The name does not tell the format. Choose it.
import-needs-owner = Only an import with an owner can delete what is missing: name one.
import-wrong = This cannot be used: { $reason }
import-unreadable = Nothing was changed, since the file cannot be imported: { $reason }. What begins with -- in it is a field below, under “More choices”.
import-gone = The file is not here any more: it is kept for an hour, by the node that it was sent to. Send it again.
import-plan-title = Plan for { $name }
import-plan-lead = Nothing is changed yet. Exactly this is done when you confirm it.
import-plan-changed = Nothing was done: the directory has changed since the plan was shown, and something else would be done now. Look at it again, and confirm it.
import-nothing = There is nothing to do: the directory is already as the file says.
import-apply = { $count ->
    [one] Make this one change
   *[other] Make these { $count } changes
}
import-discard = Discard
import-result-title = Import of { $name }
import-would = What would be done
import-did = What was done
import-kind = Kind
import-created = Created
import-updated = Changed
import-unchanged = Unchanged
import-deleted = Deleted
import-members = Memberships in groups: { $added } added, { $removed } removed.
import-passed-over = { $count ->
    [one] One entry is passed over: it is neither a unit nor a user nor a group, or outside of what is imported.
   *[other] { $count } entries are passed over: they are neither units nor users nor groups, or outside of what is imported.
}
import-interrupted = It was stopped before its end. What is counted here is done; import the file again to go on.
import-withheld = Nothing is deleted: { $deletions } of { $owned } that the owner has would go, which is more than the limit.
import-withheld-limit = The limit is { $limit }. If the file is complete, send it again with a higher one.
import-samples = Some of it
import-refused = { $count ->
    [one] One entry is refused
   *[other] { $count } entries are refused
}
import-noted = { $count ->
    [one] In one place something is passed over
   *[other] In { $count } places something is passed over
}
import-why = Why, and what to do
import-entries = Entries
import-lines = Lines
rule-owner = TYPE:ID, such as ldap:example.
rule-deletions = A number, or a percentage of what the owner has, such as 10%.
done-imported = The file was imported. What was refused stands below.
export-title = Export
export-lead = Can be imported again without a difference. Passwords are never exported.
export-jsonl = Everything: units, users and groups, a line for each.
export-csv = Users with their units and groups, for spreadsheets.
export-ldif = What LDAP has attributes for.

## What to do about what a test came upon
advice-host-not-found = Check the spelling of the host in the receiving URL, and that the hub's machine can resolve it (DNS, /etc/hosts).
advice-address-not-allowed = If this address is meant, add it or its network to the setting egress.allow, and restart the hub.
advice-connection-refused = Check that the application runs, and that it listens on this port for others than its own machine; a firewall may refuse connections, too.
advice-connection-timed-out = Check the host in the receiving URL; a firewall may drop the packets: it has to let the outbound addresses in on this port.
advice-unreachable = There is no way from the hub to this address: check the network, its routes and firewalls.
advice-not-tls = If the application speaks plain http there, write http:// in the receiving URL, and have events encrypted; if it speaks https on another port, write that port.
advice-tls-expected = Write https:// in the receiving URL.
advice-certificate-self-signed = Put the certificate into the file that the setting egress.ca_file names and restart the hub, or use one by an authority that is trusted.
advice-certificate-of-authority = Use a certificate for the server that is not one of an authority, and put it into the file that the setting egress.ca_file names.
advice-certificate-unknown-authority = If it is your company's authority, put its certificate into the file that the setting egress.ca_file names and restart the hub; if it is a public one, have the server send its intermediate certificates along.
advice-certificate-other-host = Write a name in the receiving URL for which the certificate is, or use a certificate for this host (as subjectAltName; the common name alone does not count).
advice-certificate-expired = Renew the certificate and have the server load it; if it is valid, the hub's clock is ahead.
advice-certificate-not-yet-valid = Check the hub's clock; otherwise use a certificate that is valid already.
advice-certificate-refused = Use a certificate for servers, with a key and a signature of today's strength.
advice-client-certificate-wanted = Do not ask for a client certificate at this path: the signature of each request proves who sends.
advice-tls-failed = Check that the application speaks https on this port (TLS 1.2 or 1.3), and that nothing in between, such as a firewall or a proxy, stops it.
advice-not-sealed = Mend the keys of the application under Keys and Encryption key, and test again.
advice-timed-out = Answer at once: store the events, answer, and process them afterwards.
advice-connection-lost = The connection was closed before the answer was whole: look into the logs of the application, and of proxies in front of it.
advice-redirected = Redirects are not followed: write the final address as the receiving URL. A redirect to a login means that the path has to be reached without one.
advice-refused-by-application = Compare the values under Receive, and the encryption key, with those that the application uses; its log says more.
advice-refused-in-between = This is not how an application refuses events: a firewall, a proxy or a login in front of it may. Let POSTs to this path through from the outbound addresses without a login; the signature proves who sends.
advice-not-found = Check the path of the receiving URL, and that the application takes POST there.
advice-busy = The endpoint asks for patience: test again later. If it stays so, lower the requests per second or those in flight under Limits.
advice-gateway-failed = A proxy in front of the application does not reach it: check that the application runs, and where the proxy leads.
advice-application-failed = The application failed: its log says why.
advice-other-status = Answer with the status 200 and name the event: every other status counts as a failure, and the events are sent again.
advice-answer-unreadable = Answer with a JSON object of the protocol, in UTF-8 and not compressed, that names each event once.
advice-answer-empty = An empty 200 counts as received, whoever sends it: have the application name each event in its answer, so that what fails is noticed and sent again.
advice-answer-html = A web page counts as received like every 200, but a login page or a proxy answers so: make sure that the application takes POSTs at this path, and have it name each event in its answer.
advice-answer-foreign = A 200 counts as received, whatever it holds: make sure that it is the application that answers, and have it name each event.
advice-event-misnamed = Answer each event with the eventId that it bears, not with its bizId nor with an id of the application's own.
advice-event-not-named = Answer each event with the eventId that it bears, in one of the four lists.
advice-event-refused = See in the application's log why; it should answer common:test with successEvents.
advice-event-wanted-again = See in the application's log what it is waiting for; it should answer common:test with successEvents.
advice-credentials-refused = The application refuses the token, or what the token is for. Enter it again under Push by SCIM, and see at the application that it may read and write users and groups.
advice-groups-missing = The application seems to have no groups. Leave groups out under Push by SCIM.
advice-filters-passed-over = The application does not look at filters, so that whoever is there already may not be found. Synchronize only if it is empty, or ask its makers.
advice-profile-differs = Set right under Push by SCIM how the application wants to be spoken to.

## Why a user did or did not arrive
reason-added-later = The application was added later.
reason-in-scope-all-along = The user was in scope before and after; what moved is told by another change.
reason-out-of-scope = The user was not in scope.
reason-other-half = The other half of the move tells it.
reason-not-subscribed = The application has not subscribed to this event.
wait-switched-off = The application is switched off; what waits is sent when it is switched on.
wait-silent = The application does not answer: { $reason }. It is asked again by itself, and at once if you press “Switch on and send now” there.
wait-failing = { $count ->
    [one] The last request failed
   *[other] The last { $count } requests failed
}: { $reason }. It is tried again by itself; Test Connectivity tells what is wrong.
wait-on-its-way = It is on its way; if it stays so, see on Home whether a node delivers.
verdict-refused = { $name } refused the newest event: { $answer }. Mend that there, then send the event again under Deliveries.
verdict-again = { $name } asked for the newest event again: { $answer }. It is sent again by itself.
verdict-not-sent = The newest change has not been sent yet.
verdict-skipped = { $name } got the newest event and passed it over: { $answer }
verdict-assumed = { $name } answered the newest event with HTTP 200, which counts as received: { $answer }. Whether it has everything, only its developers can tell; Test Connectivity says what its answer lacks.
verdict-dismissed = { $name } refused the newest event, and it was not sent again: { $answer }. What it told may be missing there; “Push now” tells what is true now.
verdict-deleted = The user is deleted, and { $name } was told so.
verdict-never-there = The user is deleted, and was never in the scope of { $name }.
verdict-out-of-scope = The user is not in the scope of { $name }. Change the scope, or where the user stands.
verdict-has-all = { $name } has everything that it is to have of this user.
verdict-taken-later = { $name } did not take the newest event at first, and took it later: it has everything that it is to have of this user.
verdict-taken-after = { $name } did not take the newest event at first ({ $answer }), and took it later: it has everything that it is to have of this user.
verdict-settled = { $name } got everything; the requests of that time are not kept any more.
verdict-push-refused = { $name } got the user by a full synchronization and did not take it: { $answer }. That is for its developers to mend; then press “Push now”.
verdict-pushed = { $name } got the user by a full synchronization.
verdict-push-waits = A full synchronization is to push the user.
verdict-never-pushed = The user was in scope before { $name } was there, and nothing was pushed since. Press “Push now”, or synchronize.
