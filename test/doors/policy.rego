# One policy behind every door: what a request to a route is, read from each door's own input.
package doors

# METADATA
# entrypoint: true
decision := {"decision": allow, "reasons": reasons}

default allow := false

allow if {
	method in {"GET", "HEAD"}
	segments[0] == "public"
}

allow if {
	segments = ["docs", id]
	data.docs[id].readers[_] == tenant
	method == "GET"
}

reasons contains "only reading" if {
	not method in {"GET", "HEAD"}
}

reasons contains "no such document" if {
	segments = ["docs", id]
	not data.docs[id]
}

reasons contains "overflow" if {
	segments[0] == "endless"
	some i in numbers.range(1, 10000)
	some j in numbers.range(1, 10000)
	i + j == 0.5
}

method := input.action.name

method := input.attributes.request.http.method

segments := input.parsed_path

segments := split(trim_left(input.resource.id, "/"), "/") if input.resource.type == "route"

tenant := input.parsed_query.tenant[0]

tenant := input.resource.properties.params.tenant[0]
