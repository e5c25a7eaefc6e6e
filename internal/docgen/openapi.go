package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/lbshipd/lbshipd/admin/rest"
)

// openapi writes the OpenAPI 3.1 document that the API serves. Every endpoint is
// from the table that the server routes by, every schema from a Go type.
func openapi(root string) ([]byte, error) {
	s, err := apiSchemas(root)
	if err != nil {
		return nil, err
	}
	paths := map[string]schema{}
	for _, e := range rest.Endpoints() {
		path := rest.Prefix + e.Path
		if paths[path] == nil {
			paths[path] = schema{}
			if name, pattern, text := pathParam(e.Path); name != "" {
				paths[path]["parameters"] = []schema{{"name": name, "in": "path", "required": true, "schema": schema{"type": "string", "pattern": pattern}, "description": text}}
			}
		}
		op, err := operation(&e, s)
		if err != nil {
			return nil, err
		}
		paths[path][strings.ToLower(e.Method)] = op
	}
	return indented(schema{
		"openapi": "3.1.0",
		"info": schema{"title": "lbshipd", "version": "devel", "license": schema{"name": "Apache-2.0", "identifier": "Apache-2.0"},
			"description": "Sources, targets and TLS bundles of lbshipd, and the reports of its nodes. The version is that of the daemon; that of the API is in its paths."},
		"servers":  []schema{{"url": "/"}},
		"security": []schema{{"token": []string{}}, {}},
		"paths":    paths,
		"components": schema{"schemas": s.made, "responses": errorResponses(), "parameters": sharedParameters(),
			"securitySchemes": schema{"token": schema{"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "Not needed on the Unix socket."}}},
	})
}

// errorResponses are the answers of 4xx and 5xx, each the same everywhere.
func errorResponses() schema {
	out := schema{}
	for status, text := range statusTexts {
		if status >= 400 {
			out[strconv.Itoa(status)] = schema{"description": text, "content": schema{"application/json": schema{"schema": ref("Error")}}}
		}
	}
	return out
}

// sharedParameters are the parameters of queries and headers, by name.
func sharedParameters() schema {
	out := schema{}
	for _, e := range rest.Endpoints() {
		for _, p := range parameters(&e) {
			out[p["name"].(string)] = p
		}
	}
	return out
}

func apiSchemas(root string) (*schemas, error) {
	c, err := readComments(root, "config", "admin/rest", "sinks")
	if err != nil {
		return nil, err
	}
	s := newSchemas(c)
	return s, s.all()
}

// indented writes JSON as people read it.
func indented(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(v)
	return out.Bytes(), err
}

// pathParam returns the parameter of a path, empty if it has none.
func pathParam(path string) (name, pattern, text string) {
	switch {
	case strings.HasPrefix(path, "/collectors/{id}"):
		return "id", rest.NodePattern, "The node's name."
	case strings.HasPrefix(path, "/history/{id}"):
		return "id", rest.RevisionPattern, "The revision's number, as in the history."
	case strings.Contains(path, "{name}"):
		return "name", rest.NamePattern, "The object's name."
	}
	return "", "", ""
}

// operationID is the action and what it is done to: listSources, forgetCollector.
func operationID(e *rest.Endpoint) string {
	action, object, _ := strings.Cut(e.Action, "-")
	if object != "" {
		action += strings.ToUpper(object[:1]) + object[1:]
	}
	switch {
	case e.Kind == "":
		return action
	case e.Action == "list":
		return action + strings.TrimSuffix(rest.ListSchema(e.Kind), "List") + "s"
	}
	return action + rest.Schema(e.Kind)
}

// statusTexts say when a status is answered.
var statusTexts = map[int]string{
	200: "Done.", 201: "It was not there, and was created.", 304: "It is what If-None-Match names.",
	400: "The request is not valid.", 401: "Nobody has said who is asking, or the token is not valid.", 403: "The role does not allow it.",
	404: "It is not there.", 409: "It exists already, or is still referenced, or the daemon has nothing to do this with.",
	412: "The condition of If-Match or If-None-Match does not hold.", 413: "The body is too large.", 415: "The body is neither JSON nor YAML, or does not say so.",
	429: "Too many requests.", 500: "Something went wrong inside.", 503: "The configuration store cannot be reached.",
}

func operation(e *rest.Endpoint, s *schemas) (schema, error) {
	op := schema{"operationId": operationID(e), "summary": e.Summary, "tags": []string{tag(e)}, "x-role": e.Role.String()}
	text := e.Text
	if text != "" {
		text += "\n\n"
	}
	op["description"] = text + "Needs the role " + e.Role.String() + "."
	var params []schema
	for _, p := range parameters(e) {
		params = append(params, schema{"$ref": "#/components/parameters/" + p["name"].(string)})
	}
	if params != nil {
		op["parameters"] = params
	}
	switch e.Body {
	case "":
	case "*":
		op["requestBody"] = schema{"required": false, "content": schema{"application/json": schema{"schema": ref("Empty")}}}
	default:
		content := schema{"schema": ref(e.Body)}
		op["requestBody"] = schema{"required": true, "content": schema{"application/json": content, "application/yaml": content}}
	}
	responses := schema{}
	for _, status := range statuses(e) {
		r := schema{"description": statusTexts[status]}
		if statusTexts[status] == "" {
			return nil, fmt.Errorf("status %d of %s %s has no words here", status, e.Method, e.Path)
		}
		switch {
		case status == http.StatusNotModified:
		case status < 300:
			if s.made[e.Answer] == nil {
				return nil, fmt.Errorf("%s %s answers with %q, which has no schema", e.Method, e.Path, e.Answer)
			}
			r["content"] = schema{"application/json": schema{"schema": ref(e.Answer)}}
			r["headers"] = headers(e)
		default:
			r = schema{"$ref": "#/components/responses/" + strconv.Itoa(status)}
		}
		responses[strconv.Itoa(status)] = r
	}
	op["responses"] = responses
	return op, nil
}

// statuses are all that an endpoint answers with.
func statuses(e *rest.Endpoint) []int {
	out := append([]int{200, 400, 401, 403, 429, 500, 503}, e.Statuses...)
	slices.Sort(out)
	return out
}

func tag(e *rest.Endpoint) string {
	first, _, _ := strings.Cut(e.Path[1:], "/")
	return first
}

// headers of what succeeds.
func headers(e *rest.Endpoint) schema {
	out := schema{"Warning": schema{"schema": schema{"type": "string"}, "description": "299 lbshipd \"...\": what is legal but odd; may be there several times."}}
	if e.Kind != "" && e.Answer == rest.Schema(e.Kind) || slices.Contains(e.Headers, "If-None-Match") {
		out["ETag"] = schema{"schema": schema{"type": "string"}, "description": "Changes with every change of what is answered, and only then. Left out in dry runs."}
	}
	return out
}

func parameters(e *rest.Endpoint) []schema {
	var out []schema
	for _, p := range e.Query {
		value := schema{"type": p.Type}
		switch p.Type {
		case "integer":
			value["minimum"], value["maximum"] = 1, p.Max
		case "string":
			value["maxLength"] = p.Max
		}
		out = append(out, schema{"name": p.Name, "in": "query", "schema": value, "description": p.Text})
	}
	for _, h := range e.Headers {
		out = append(out, schema{"name": h, "in": "header", "schema": schema{"type": "string"}, "description": "As in RFC 9110 section 13.1: * or ETags."})
	}
	return out
}
