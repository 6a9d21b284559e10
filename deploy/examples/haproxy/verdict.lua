-- Asks Verdict about a request, and leaves its answer in variables of the transaction.
-- Without an answer in time the variable has no status, which haproxy.cfg takes for a deny.
local url = "http://127.0.0.1:8181/v1/auth"
local timeout_ms = 2000

core.register_action("verdict", { "http-req" }, function(txn)
	local headers = txn.http:req_get_headers()
	local asked = {
		["host"] = { "localhost" },
		["x-forwarded-method"] = { txn.sf:method() },
		["x-forwarded-uri"] = { txn.sf:pathq() },
		["x-forwarded-proto"] = { "http" },
		["x-forwarded-host"] = { txn.sf:req_hdr("host") },
		["x-forwarded-for"] = { txn.sf:src() },
	}
	for _, name in ipairs({ "authorization", "x-request-id", "traceparent" }) do
		if headers[name] ~= nil then
			asked[name] = { headers[name][0] }
		end
	end
	local answer = core.httpclient():get({ url = url, headers = asked, timeout = timeout_ms })
	if answer == nil or answer.status == nil then
		return
	end
	local told = answer.headers or {}
	txn:set_var("txn.verdict_status", answer.status)
	txn:set_var("txn.verdict_subject", told["x-subject"] and told["x-subject"][0] or "")
	txn:set_var("txn.verdict_authenticate", told["www-authenticate"] and told["www-authenticate"][0] or "Bearer")
end)
