# METADATA
# title: The decision
# description: |
#   Where every question enters. Start reading here.
#
#   A question names a subject, an action and a resource. What decides depends on who asks:
#
#   - people (`subject.type` is "user") need a role that grants the action (package rbac), or they own the
#     resource; on top of that the circumstances must fit (package abac),
#   - services (`subject.type` is "service") need to be on the allowlist of the service they call (package mesh).
#
#   Nothing is allowed unless a rule says so, and one veto is enough to deny. Each answer says why.
package authz

import data.abac
import data.mesh
import data.rbac

# METADATA
# title: The answer
# description: The object that Verdict returns; `reasons` explain a deny, `obligations` come with an allow.
# entrypoint: true
decision := {
	"allow": allow,
	"reasons": reasons,
	"obligations": obligations,
}

# METADATA
# description: Some grant, and no veto.
default allow := false

allow if {
	granted
	count(vetoes) == 0
}

# METADATA
# description: One way of being entitled is enough.
default granted := false

granted if rbac.granted

granted if abac.owner_may

granted if mesh.granted

# METADATA
# description: Circumstances that forbid what is granted otherwise. They apply to people.
vetoes contains reason if {
	input.subject.type == "user"
	some reason in abac.vetoes
}

# METADATA
# description: Why not. Empty when the answer is allow.
reasons contains "no rule grants this action" if not granted

reasons contains reason if some reason in vetoes

# METADATA
# description: What the caller must do when it lets the request through.
obligations contains obligation if {
	allow
	some obligation in abac.obligations
}
