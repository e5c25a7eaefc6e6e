package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lbshipd/lbshipd/admin/rest"
	"github.com/lbshipd/lbshipd/config"
)

// restIntro is what stands above the endpoints. Its verbs are the prefix, and the limit of a body.
const restIntro = `<!-- Made by "go run ./internal/docgen" from admin/rest. Do not edit it here. -->

# REST API

Everything is below ` + "`%[1]s`" + ` on the admin port, and on the Unix socket. Bodies and answers are the objects of
[configuration.md](configuration.md), as JSON; ` + "`Content-Type: application/yaml`" + ` is taken as well. The same as an OpenAPI 3.1
document is at ` + "`%[1]s/openapi.json`" + `.

    curl -X POST https://node1:9600%[1]s/sources -H "Authorization: Bearer $JWT" -H 'Content-Type: application/json' \
      -d '{"name": "node-manager", "journald": {"identifiers": ["node-manager"]}, "minLevel": "info"}'
    curl --unix-socket /var/lib/lbshipd/admin.sock http://localhost%[1]s/collectors      # as root, without a token

A change is checked as a whole, stored, and effective on all nodes without restarting anything. What was answered with 200
or 201 is stored. If there was no answer, or 503, nothing is known: PUT and DELETE can be sent again.

## What holds for all of it

- **Who may**: a viewer reads; an editor also writes sources, targets, formats and services, and tests targets; an admin also
  writes TLS bundles, rolls back and forgets collectors. On TCP a token says who asks (` + "`Authorization: Bearer ...`" + `), on the Unix
  socket the kernel. Fields of targets that name a file whose contents are sent (` + "`bearerTokenFile`, `passwordFile`" + `) are an admin's to
  write, and of a target that has one so are the URL's host and port, ` + "`tlsBundle` and `serverName`" + `: 403 otherwise. Nor may an editor delete
  such a target, or leave the field out. Sources read every file that the daemon may, but its own and those that targets and TLS bundles name: see [control-plane.md](control-plane.md#roles).
- **Secrets** are write-only. Answers have ` + "`(hidden)`" + ` in their place, and no ` + "`keyPem`" + `; ` + "`(hidden)`" + ` that is sent back, and a ` + "`keyPem`" + ` that
  is left out beside the same ` + "`certPem`" + `, mean what is stored already. Thus what GET answers can be changed and PUT back,
  but where a target sends to: with another scheme, host or port of the URL, ` + "`tlsBundle` or `serverName`" + ` its secrets must be given again.
- **Create and replace**: POST creates, and answers 409 if the name is taken. PUT replaces all of an object (200), and creates it if it
  is not there (201). The name in the body must be that of the path.
- **Conditions** (RFC 9110 section 13.1): GET answers with an ` + "`ETag`" + ` that changes with every change of the object and only then, the same
  with and without defaults. ` + "`If-Match: \"...\"`" + ` on PUT and DELETE: only if it was not changed since, else 412. ` + "`If-Match: *`" + `: only if it is there
  (an update that must not create). ` + "`If-None-Match: *`" + `: only if it is not. ` + "`If-None-Match`" + ` on GET answers 304 if nothing has changed;
  lists and nodes' reports have an ETag for that as well.
- **Dry run**: ` + "`?dryRun=true`" + ` on every write does all the checks, answers as if it were done, and changes nothing.
- **Lists** are sorted by name. With ` + "`limit`" + `, ` + "`nextPageToken`" + ` of the answer is the next request's ` + "`pageToken`" + `. An object that is stored and
  cannot be used, such as one that was written by hand, is in ` + "`rejected`" + ` with the reason.
- **Warnings**: what is legal but odd is in the header ` + "`Warning: 299 lbshipd \"...\"`" + `, and in ` + "`warnings`" + ` of what apply and a rollback answer.
- **Apply** makes all of a body's changes or none. With ` + "`prune=true`" + ` it also deletes what the body does not hold, of those kinds that it has a list of
  (` + "`\"formats\": []`" + ` deletes all formats; a body without ` + "`formats`" + ` deletes none).
- **Strict**: unknown fields and parameters, a field given twice, what is not UTF-8, half surrogate pairs, more than 64 levels and bodies of more than %[2]v are
  refused. Paths are taken as they stand: there are no trailing slashes, and nothing is percent-encoded.
- **Audit**: the daemon's log has one line (` + "`audit`" + `) for every request that is no GET: who, from where, what, with which result. ` + "`?reason=...`" + ` is in it, and in the history.

## Errors

    {"code": 3, "message": "source \"app\": logFormat: \"jsno\" is not known, did you mean \"json\"?",
     "details": [{"object": "source \"app\"", "field": "logFormat", "message": "\"jsno\" is not known, did you mean \"json\"?"}]}

| status | code | when |
|---|---|---|
| 400 | 3 | what was sent is not valid; details name each field |
| 401 | 16 | no token, or none that is valid |
| 403 | 7 | the role does not allow it |
| 404 | 5 | there is no such object, node, revision or path |
| 405 | 3 | the path does not take this method; ` + "`Allow`" + ` says which it takes |
| 409 | 6 | there is an object of this name already |
| 409 | 9 | the object is still referenced; or the daemon has nothing to do this with, and the message says how it would have |
| 409 | 10 | it was changed by somebody else at the same moment, and no condition was given: send it again |
| 412 | 10 | the condition of If-Match or If-None-Match does not hold |
| 413 | 8 | the body is more than %[2]v |
| 415 | 3 | the body is neither JSON nor YAML, or does not say so, or is compressed |
| 429 | 8 | too many requests |
| 500 | 13 | something went wrong inside; the message names the request, under which the daemon's log has more |
| 503 | 14 | the configuration store cannot be reached; ` + "`Retry-After`" + ` says when to try again |

`

// restPage writes docs/rest.md.
func restPage(root string) ([]byte, error) {
	s, err := apiSchemas(root)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, restIntro, rest.Prefix, config.Bytes(rest.MaxBody))
	out.WriteString("## Requests\n\n| method | path | what it does | role | body | answer |\n|---|---|---|---|---|---|\n")
	for _, e := range rest.Endpoints() {
		fmt.Fprintf(&out, "| %s | `%s%s` | %s | %v | %s | %s |\n", e.Method, e.Path, querySketch(&e), escape(strings.TrimSpace(e.Summary+". "+e.Text)), e.Role, bodyText(e.Body), bodyText(e.Answer))
	}
	out.WriteString("\n## Parameters\n\n| parameter | meaning |\n|---|---|\n")
	told := map[string]bool{}
	for _, e := range rest.Endpoints() {
		for _, p := range e.Query {
			if !told[p.Name] {
				fmt.Fprintf(&out, "| `%s` | %s |\n", p.Name, escape(p.Text))
			}
			told[p.Name] = true
		}
	}
	out.WriteString("\n## What is answered\n\nThe objects are in [configuration.md](configuration.md). A TLS bundle is answered with these as well:\n\n")
	fields(&out, "", factProperties(s))
	for _, name := range []string{"Collector", "UnhealthyComponent", "CollectorSource", "CollectorTarget", "Rejected", "Applied", "Revision", "RevisionChange", "TestReport", "Step", "Whoami", "Error", "Detail"} {
		made, ok := s.made[name]
		if !ok {
			return nil, fmt.Errorf("there is no schema %s", name)
		}
		fields(&out, name, made["properties"].(schema))
	}
	return append(bytes.TrimRight(out.Bytes(), "\n"), '\n'), nil
}

func querySketch(e *rest.Endpoint) string {
	var names []string
	for _, p := range e.Query {
		names = append(names, p.Name)
	}
	if len(names) == 0 {
		return ""
	}
	return "?" + strings.Join(names, "&")
}

func bodyText(name string) string {
	switch name {
	case "":
		return ""
	case "OpenAPI":
		return "the document"
	case "*":
		return "none"
	case "Empty":
		return "`{}`"
	}
	if kind, ok := strings.CutSuffix(name, "List"); ok {
		for _, k := range config.Kinds() {
			if rest.Schema(k) == kind {
				return "`{\"" + k.List() + "\": [...]}`"
			}
		}
		return "`{\"" + strings.ToLower(kind) + "s\": [...]}`"
	}
	return name
}

func factProperties(s *schemas) schema {
	out := schema{}
	for name := range bundleFacts {
		out[name] = s.made["TLSBundle"]["properties"].(schema)[name]
	}
	return out
}

// fields writes a table of an object's fields, by name.
func fields(out *bytes.Buffer, name string, properties schema) {
	if name != "" {
		fmt.Fprintf(out, "### %s\n\n", name)
	}
	out.WriteString("| field | type | meaning |\n|---|---|---|\n")
	for _, field := range slices.Sorted(maps.Keys(properties)) {
		p := properties[field].(schema)
		text, _ := p["description"].(string)
		if values, ok := p["enum"].([]string); ok {
			text = strings.TrimSpace(codes(values) + ". " + text)
		}
		fmt.Fprintf(out, "| `%s` | %s | %s |\n", field, typeWords(p), escape(text))
	}
	out.WriteString("\n")
}

// typeWords says in words what a schema takes.
func typeWords(p schema) string {
	if r, ok := p["$ref"].(string); ok {
		name := r[strings.LastIndex(r, "/")+1:]
		if name == "Int64" {
			return "number as text"
		}
		return name
	}
	switch p["type"] {
	case "array":
		return "list of " + typeWords(p["items"].(schema))
	case "object":
		return "names and texts"
	case "string":
		if p["format"] == "date-time" {
			return "time (RFC 3339)"
		}
		return "text"
	case "boolean":
		return "`true` or `false`"
	}
	return "number"
}
