# The same for Envoy, as it would be written for opa-envoy-plugin.
package envoy.authz

import input.attributes.request.http

default allow := {"allowed": false, "http_status": 403, "body": "not public"}

# METADATA
# entrypoint: true
allow := {"allowed": true, "headers": {"x-subject": "anonymous"}} if {
	http.method in {"GET", "HEAD"}
	input.parsed_path[0] == "public"
}
