package rest

import (
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/lbshipd/lbshipd/admin/auth"
	"github.com/lbshipd/lbshipd/config"
)

// Endpoint is one method of one path. The server routes by it, and the
// OpenAPI document and docs/rest.md are made from it.
type Endpoint struct {
	Method string
	// Path is below Prefix. {name} and {id} stand for an object's name, a node's name and a revision's number.
	Path string
	// Kind is the kind of object of the path; empty if it is about no kind.
	Kind config.Kind
	// Action is a word for the audit log and for the operation's ID.
	Action string
	// Summary says in one line what it does.
	Summary string
	// Text says the rest; may be empty.
	Text string
	// Role is the least that may do it.
	Role auth.Role
	// Query are the parameters that it takes.
	Query []Param
	// Body and Answer are the names of schemas, empty for none; Body "*" is an empty object.
	Body, Answer string
	// Headers are those of the request that it heeds: If-Match, If-None-Match.
	Headers []string
	// Statuses are those that it can answer beside 400 (of any), 401, 403, 405, 500 and 503.
	Statuses []int

	handle func(*call) (reply, error)
}

// Param is a parameter of the query.
type Param struct {
	Name string
	// Type is boolean, integer or string.
	Type string
	Text string
	Max  int // of an integer, or bytes of a string
}

var (
	paramDryRun   = Param{Name: "dryRun", Type: "boolean", Text: "Do all the checks, answer as if it were done, and change nothing."}
	paramReason   = Param{Name: "reason", Type: "string", Max: maxReason, Text: "What the history and the audit log are to say of why."}
	paramDefaults = Param{Name: "defaults", Type: "boolean", Text: "false: only what was given, without defaults; what an editor should start from."}
	paramLimit    = Param{Name: "limit", Type: "integer", Max: maxLimit, Text: "At most so many objects; the answer's nextPageToken leads to the next ones. Not given: all."}
	paramToken    = Param{Name: "pageToken", Type: "string", Max: maxToken, Text: "The nextPageToken of the answer before. Pages go by name, so that what is written meanwhile makes none of the others appear twice or not at all."}
	paramPrune    = Param{Name: "prune", Type: "boolean", Text: "Also delete the objects that the body does not hold, of those kinds that it has a list of; an empty list is one."}
)

// maxReason, maxLimit and maxToken bound parameters.
const (
	maxReason = 200
	maxLimit  = 1000
	maxToken  = 512
)

// Endpoints returns all that the API answers to.
func Endpoints() []Endpoint { return endpoints }

// endpoints never changes once the program has started.
var endpoints []Endpoint

func init() {
	for _, kind := range []config.Kind{config.KindSource, config.KindTarget, config.KindTLSBundle, config.KindFormat, config.KindService} {
		endpoints = append(endpoints, objectEndpoints(kind)...)
		if kind == config.KindTarget {
			endpoints = append(endpoints, testEndpoints()...)
		}
	}
	endpoints = append(endpoints, otherEndpoints()...)
}

// Noun is a kind in a sentence.
func Noun(kind config.Kind) string {
	if kind == config.KindTLSBundle {
		return "TLS bundle"
	}
	return string(kind)
}

// Schema is the name of a kind's schema, which is that of its Go type.
func Schema(kind config.Kind) string {
	if kind == config.KindTLSBundle {
		return "TLSBundle"
	}
	return strings.ToUpper(string(kind[:1])) + string(kind[1:])
}

// ListSchema is the name of the schema of a kind's list.
func ListSchema(kind config.Kind) string { return Schema(kind) + "List" }

// writer is the least role that may write a kind.
func writer(kind config.Kind) auth.Role {
	if kind == config.KindTLSBundle {
		return auth.Admin
	}
	return auth.Editor
}

func objectEndpoints(kind config.Kind) []Endpoint {
	list, one, noun, schema := "/"+kind.Plural(), "/"+kind.Plural()+"/{name}", Noun(kind), Schema(kind)
	out := []Endpoint{
		{Method: http.MethodGet, Path: list, Action: "list", Summary: "List the " + noun + "s by name",
			Role: auth.Viewer, Query: []Param{paramLimit, paramToken, paramDefaults}, Headers: []string{ifNoneMatch}, Answer: ListSchema(kind), Statuses: []int{304, 409}, handle: (*call).list},
		{Method: http.MethodPost, Path: list, Action: "create", Summary: "Create a " + noun,
			Role: writer(kind), Query: []Param{paramDryRun, paramReason}, Body: schema, Answer: schema, Statuses: []int{409, 413, 415}, handle: (*call).create},
		{Method: http.MethodGet, Path: one, Action: "get", Summary: "Read a " + noun, Text: "The ETag header changes with every change of the object, and only then.",
			Role: auth.Viewer, Query: []Param{paramDefaults}, Headers: []string{ifNoneMatch}, Answer: schema, Statuses: []int{304, 404, 409}, handle: (*call).get},
		{Method: http.MethodPut, Path: one, Action: "put", Summary: "Replace a " + noun + ", or create it",
			Text: "Answers 201 if it was not there, and 200 if it was. With If-Match: * it must be there already, with If-None-Match: * it must not be; " +
				"with If-Match and an ETag it must not have changed since (412). All fields that are not given take their defaults, but for secrets: see \"(hidden)\".",
			Role: writer(kind), Query: []Param{paramDryRun, paramReason}, Headers: []string{ifMatch, ifNoneMatch}, Body: schema, Answer: schema, Statuses: []int{201, 409, 412, 413, 415}, handle: (*call).put},
		{Method: http.MethodDelete, Path: one, Action: "delete", Summary: "Delete a " + noun, Text: "What another object still names cannot be deleted (409).",
			Role: writer(kind), Query: []Param{paramDryRun, paramReason}, Headers: []string{ifMatch, ifNoneMatch}, Answer: "Empty", Statuses: []int{404, 409, 412}, handle: (*call).delete},
	}
	for i := range out {
		out[i].Kind = kind
	}
	return out
}

func testEndpoints() []Endpoint {
	return []Endpoint{
		{Method: http.MethodPost, Path: "/targets/{name}/test", Kind: config.KindTarget, Action: "test", Summary: "Test a target step by step",
			Text: "Connects, authenticates and sends one marked record; the answer says which step failed and why.",
			Role: auth.Editor, Body: "*", Answer: "TestReport", Statuses: []int{404, 409, 413, 415}, handle: (*call).test},
		{Method: http.MethodPost, Path: "/targets/test", Kind: config.KindTarget, Action: "test-draft", Summary: "Test a target before it is stored",
			Text: "The TLS bundle that it names must be stored. \"(hidden)\" stands for the secret of the stored target of the same name.",
			Role: auth.Editor, Body: "Target", Answer: "TestReport", Statuses: []int{409, 413, 415}, handle: (*call).testDraft},
	}
}

func otherEndpoints() []Endpoint {
	return []Endpoint{
		{Method: http.MethodGet, Path: "/collectors", Action: "list-collectors", Summary: "List the nodes' reports by name",
			Role: auth.Viewer, Query: []Param{paramLimit, paramToken}, Headers: []string{ifNoneMatch}, Answer: "CollectorList", Statuses: []int{304, 409}, handle: (*call).listCollectors},
		{Method: http.MethodGet, Path: "/collectors/{id}", Action: "get-collector", Summary: "Read one node's report",
			Role: auth.Viewer, Headers: []string{ifNoneMatch}, Answer: "Collector", Statuses: []int{304, 404, 409}, handle: (*call).getCollector},
		{Method: http.MethodDelete, Path: "/collectors/{id}", Action: "forget-collector", Summary: "Forget a node that is gone for good",
			Text: "A node that still runs reports again.", Role: auth.Admin, Answer: "Empty", Statuses: []int{404, 409}, handle: (*call).forgetCollector},
		{Method: http.MethodPost, Path: "/apply", Action: "apply", Summary: "Create, replace and delete many objects at once, all or none",
			Text: "The body has the form of the configuration file. Whoever applies needs the right to write every kind that is in it.",
			Role: auth.Editor, Query: []Param{paramPrune, paramDryRun, paramReason}, Body: "Config", Answer: "Applied", Statuses: []int{404, 409, 413, 415}, handle: (*call).apply},
		{Method: http.MethodGet, Path: "/history", Action: "history", Summary: "List the last changes, newest first",
			Role: auth.Viewer, Answer: "RevisionList", Statuses: []int{409}, handle: (*call).history},
		{Method: http.MethodPost, Path: "/history/{id}/rollback", Action: "rollback", Summary: "Make all objects what they were just after a change",
			Role: auth.Admin, Query: []Param{paramDryRun, paramReason}, Body: "*", Answer: "Applied", Statuses: []int{404, 409, 413, 415}, handle: (*call).rollback},
		{Method: http.MethodGet, Path: "/whoami", Action: "whoami", Summary: "Say who asks, and in which role", Role: auth.Viewer, Answer: "Whoami", handle: (*call).whoami},
		{Method: http.MethodGet, Path: "/openapi.json", Action: "openapi", Summary: "This API as an OpenAPI document", Role: auth.Viewer, Answer: "OpenAPI", handle: (*call).document},
	}
}

// What may stand for {name} and {id}.
const (
	NamePattern     = `^[a-z0-9][a-z0-9._-]{0,62}$`
	NodePattern     = `^[A-Za-z0-9][A-Za-z0-9._:-]{0,252}$`
	RevisionPattern = `^[1-9][0-9]{0,17}$`
)

var (
	objectName = regexp.MustCompile(NamePattern)
	nodeName   = regexp.MustCompile(NodePattern)
	revisionID = regexp.MustCompile(RevisionPattern)
)

// argument checks what stands in the place of a path's parameter.
func (e *Endpoint) argument(text string) bool {
	switch {
	case strings.HasPrefix(e.Path, "/collectors/"):
		return nodeName.MatchString(text)
	case strings.HasPrefix(e.Path, "/history/"):
		return revisionID.MatchString(text)
	}
	return objectName.MatchString(text)
}

// match holds the segments of a path against those of e.
func (e *Endpoint) match(segments []string) (arg string, ok bool) {
	own := strings.Split(e.Path[1:], "/")
	if len(own) != len(segments) {
		return "", false
	}
	for i, s := range own {
		switch {
		case s == segments[i]:
		case s[0] == '{' && e.argument(segments[i]):
			arg = segments[i]
		default:
			return "", false
		}
	}
	return arg, true
}

// route finds the endpoint of a request. Paths are taken as they stand: what is
// percent-encoded though it need not be, or is to be cleaned first, is no path of ours.
func (c *call) route() (e *Endpoint, allow string, err error) {
	missing := notFound("there is no such path: GET %s/openapi.json lists those there are; names are 1 to 63 of a-z, 0-9, \".\", \"_\" and \"-\", and begin with a letter or digit", Prefix)
	path, ok := strings.CutPrefix(c.r.URL.Path, Prefix+"/")
	if !ok || c.r.URL.RawPath != "" {
		return nil, "", missing
	}
	segments, method := strings.Split(path, "/"), c.r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	var methods []string
	for i := range endpoints {
		arg, ok := endpoints[i].match(segments)
		if !ok {
			continue
		}
		if endpoints[i].Method == method {
			c.kind, c.arg = endpoints[i].Kind, arg
			return &endpoints[i], "", nil
		}
		methods = append(methods, endpoints[i].Method)
	}
	if len(methods) == 0 {
		return nil, "", missing
	}
	if slices.Contains(methods, http.MethodGet) {
		methods = append(methods, http.MethodHead)
	}
	slices.Sort(methods)
	allow = strings.Join(slices.Compact(methods), ", ")
	return nil, allow, &failure{status: http.StatusMethodNotAllowed, Code: CodeInvalidArgument,
		Message: "this path does not take " + knownMethod(c.r.Method) + ", only " + allow}
}

// knownMethod keeps what a message quotes short.
func knownMethod(method string) string {
	if len(method) > 16 {
		return "this method"
	}
	return method
}
