"""The published conformance suite of MCP, against this server over HTTP. Needs Node and npm; run by hand or by CI:

    python -m tests.conformance

Scenarios that call fixtures of their own server (tools such as `test_simple_text`, resources, completion, sampling) are
left out, because nothing here has these names. `expected.json` has what each of the
others came to, failures included, so that a change for better or worse is seen.
"""
