# Who may pass: anybody to what is public, nobody to the rest. `http_status` tells the gateway whether signing in would help.
package gate

# METADATA
# entrypoint: true
decision := {
	"allow": allow,
	"headers": headers,
	"http_status": status,
	"reasons": reasons,
}

default allow := false

allow if {
	input.action.name in {"GET", "HEAD"}
	startswith(input.resource.id, "/public/")
}

default headers := {}

headers := {"x-subject": input.subject.id} if allow

default status := 403

status := 401 if startswith(input.resource.id, "/account/")

reasons contains "not public" if not allow
