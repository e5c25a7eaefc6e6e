package config

import (
	"context"
	"errors"
	"time"
)

// Kind is one kind of stored object.
type Kind string

// The kinds, in the order in which they are applied and printed.
const (
	KindTLSBundle Kind = "tls-bundle"
	KindFormat    Kind = "format"
	KindService   Kind = "service"
	KindSource    Kind = "source"
	KindTarget    Kind = "target"
)

// Object is one of *Source, *Target, *TLSBundle, *Format and *Service.
type Object interface {
	Kind() Kind
	ObjectName() string
}

// Draft is an object as somebody has written it.
type Draft struct {
	// Object has its defaults and its secrets.
	Object Object
	// Given is the same as JSON with only what was written, secrets in
	// clear: never print it. Keys are in the order of the type's fields.
	Given []byte
}

// Stored is one object of a Store.
type Stored struct {
	Kind Kind
	Name string
	// Draft is what is stored; its Object is nil if Err is set.
	Draft
	// Etag changes with every change of this object, and only then.
	Etag string
	// Updated is when it was last changed and By is who did; zero and empty if not known.
	Updated time.Time
	By      string
	// Err says why the object cannot be used: a Problems. An object that
	// stands by itself but whose TLS bundle is missing has none here; see Assemble.
	Err error
}

// Change is one object to be written or deleted.
type Change struct {
	Kind Kind
	Name string
	// Draft is what is to be stored; nil deletes.
	Draft *Draft
	// Create makes it an error (ErrExists) that the object is there already;
	// Replace, that it is not (ErrNotFound). Neither: either will do.
	Create, Replace bool
	// IfMatch, if not empty, is the Etag that the object must have (ErrStale).
	IfMatch string
}

// Author is who changes something, for the history and the audit log.
type Author struct {
	// Name is the token's subject, or "root" and the like for the Unix socket.
	Name string
	// Via is how: "socket", "token", "file", "etcd".
	Via string
	// Reason is what the author says of it; may be empty.
	Reason string
}

// Revision is one entry of a Store's history: what one Write has changed.
type Revision struct {
	// ID counts up, not without holes.
	ID      int64            `json:"id,string"`
	Time    time.Time        `json:"time"`
	Author  string           `json:"author"`
	Via     string           `json:"via"`
	Reason  string           `json:"reason,omitempty"`
	Changes []RevisionChange `json:"changes"`
}

// RevisionChange is what became of one object.
type RevisionChange struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"`
	// Action is "create", "update" or "delete".
	Action string `json:"action"`
	// Diff is the change as a unified diff of the redacted YAML; secrets that
	// differ are shown as changed, never as what they are.
	Diff string `json:"diff"`
}

// Written is what a Write has done, or would do.
type Written struct {
	// Revision is the history's new entry, without an ID (0) for a dry run or
	// if nothing has changed.
	Revision Revision
	// Objects are the changed objects as they are now, in the order of the
	// changes; a deleted one has no Object and no Etag.
	Objects []Stored
	// Warnings are what is legal but odd.
	Warnings Problems
}

// WriteOptions are the same for all Stores.
type WriteOptions struct {
	Author Author
	// DryRun does all the checks and changes nothing.
	DryRun bool
}

// Errors of a Store, wrapped with the object they are about; test with errors.Is.
// What is wrong with an object itself is a Problems (errors.As).
var (
	ErrNotFound    = errors.New("there is no such object")
	ErrExists      = errors.New("there is an object of this name already")
	ErrStale       = errors.New("the object was changed meanwhile")
	ErrReferenced  = errors.New("the object is still referenced")
	ErrUnavailable = errors.New("the configuration store cannot be reached")
	ErrReadOnly    = errors.New("the configuration cannot be changed here")
	// ErrUnclear comes with ErrUnavailable if a change may have been made all the same.
	ErrUnclear = errors.New("it is not known whether the change was made")
)

// Store keeps the objects: one YAML file, or etcd. All methods may be called
// from several goroutines.
type Store interface {
	// List returns all objects, by kind and name.
	List(ctx context.Context) ([]Stored, error)
	// Write makes all of the changes or none. The result is checked before: see Plan.
	// Writing what is there already changes nothing and is no error.
	Write(ctx context.Context, changes []Change, o WriteOptions) (Written, error)
	// History returns what was written last, newest first, at most 50.
	History(ctx context.Context) ([]Revision, error)
	// Rollback makes all objects what they were just after the revision id,
	// which is a Write of its own. ErrNotFound if it is no longer known.
	Rollback(ctx context.Context, id int64, o WriteOptions) (Written, error)
}

// Event is what a Store holds now. Either Config or Err is set.
type Event struct {
	// Config is complete: parsed, validated, with its files read.
	Config *Config
	// Rejected are the objects that Config does without, and why.
	Rejected []Rejected
	// Err says why there is no Config: a Problems, or that the store
	// cannot be read. What runs is to be kept.
	Err error
	// Gone is set with Err if the file is not there.
	Gone bool
	// Reloaded is set if this answers a Reload; the contents may be the same
	// as before then.
	Reloaded bool
	// Hash tells configurations apart: the same on all nodes that have the
	// same objects, whatever the nodes select. Hex, of SHA-256; no secret can be guessed from it.
	Hash string
	// Cached is set if the store cannot be reached and this is what it held last.
	Cached bool
}

// Rejected is an object that cannot be used.
type Rejected struct {
	Kind   Kind   `json:"kind"`
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Watcher hands out each new configuration.
type Watcher interface {
	// Watch sends what the store holds, then an Event for every change. If the
	// receiver is slow, an Event that it has not taken is replaced by a newer
	// one. The channel is closed when ctx ends. Watch is called once.
	Watch(ctx context.Context) <-chan Event
	// Reload makes an Event be sent in any case. It does not wait.
	Reload()
}

// Node is what a machine is called, and what is said of it: what the nodes and
// nodeSelector of sources and targets are held against.
type Node struct {
	Name   string
	Labels map[string]string
}

// Kind and ObjectName make each an Object.
func (s *Source) Kind() Kind    { return KindSource }
func (t *Target) Kind() Kind    { return KindTarget }
func (b *TLSBundle) Kind() Kind { return KindTLSBundle }
func (f *Format) Kind() Kind    { return KindFormat }
func (s *Service) Kind() Kind   { return KindService }

// ObjectName returns the object's name.
func (s *Source) ObjectName() string    { return s.Name }
func (t *Target) ObjectName() string    { return t.Name }
func (b *TLSBundle) ObjectName() string { return b.Name }
func (f *Format) ObjectName() string    { return f.Name }
func (s *Service) ObjectName() string   { return s.Name }
