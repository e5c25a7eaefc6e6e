// Package config holds the objects that a user writes: sources, targets, TLS
// bundles, and the formats they name; their defaults and their validation.
package config

import (
	"maps"
	"slices"
	"time"

	"github.com/lbshipd/lbshipd/record"
)

// Config is one complete configuration: the standalone YAML file.
//
//	sources:
//	  - name: journal
//	    journald: {}
//	targets:
//	  - name: loki
//	    loki:
//	      url: https://loki.example.net:3100
type Config struct {
	// What is read.
	Sources []Source `json:"sources,omitempty"`
	// Where it is sent. Every record of every enabled source goes to every enabled target.
	Targets []Target `json:"targets,omitempty"`
	// Certificates that targets name.
	TLSBundles []TLSBundle `json:"tlsBundles,omitempty"`
	// Line formats of your own, used as "regex:NAME".
	Formats []Format `json:"formats,omitempty"`
	// Which format the lines of well-known services have, beside those that are known anyway.
	Services []Service `json:"services,omitempty"`

	doc      *document // where it stands in its file; nil if made in code
	settled  bool      // has its defaults, although it was not parsed as a whole
	warnings Problems
	resolved bool     // the files it names have been read
	named    []string // files that the objects name which it was assembled from
}

// Source is something that logs are read from. Exactly one of journald and
// file is given.
//
//	sources:
//	  - name: app
//	    file:
//	      paths: [/var/log/app/*.log]
//	    logFormat: json
//	    minLevel: info
//	    labels:
//	      role: node
type Source struct {
	// Name of the source, unique among sources. Positions are kept under it.
	Name string `json:"name"`
	// Whether it is read.
	Enabled *bool `json:"enabled,omitempty" default:"true"`
	// Reads the systemd journal.
	Journald *JournaldSource `json:"journald,omitempty"`
	// Reads log files.
	File *FileSource `json:"file,omitempty"`
	// The format of the lines: raw, json, logfmt, klog, zap-json, syslog-rfc3164, syslog-rfc5424, cri, regex:NAME, or auto. Not given: that of the services (see services[]), if all units, identifiers or paths name services of one format.
	LogFormat string `json:"logFormat,omitempty" default:"raw for journald, auto for file"`
	// Records below this level are dropped; a record of unknown level passes.
	MinLevel record.Level `json:"minLevel,omitempty"`
	// Labels that every record of this source carries.
	Labels map[string]string `json:"labels,omitempty"`
	// Where an input that was never seen before starts: end or beginning. Files that appear while lbshipd runs are always read from their beginning.
	StartAt string `json:"startAt,omitempty" default:"end"`
	// How long it may yield nothing before that counts as not being as it should be, in the status and for health checks: a service that has died, a path that nobody writes to any more. 0: for ever.
	SilentAfter Duration `json:"silentAfter,omitempty" default:"0s" min:"0s" max:"87600h"`
	// The time zone of times that name none, as in the IANA database.
	TimeZone string `json:"timeZone,omitempty" default:"Local"`
	// Names of the nodes that read it (--node-name); globs are allowed. Not given: all nodes.
	Nodes []string `json:"nodes,omitempty"`
	// Labels that a node must have to read it (--node-label), every one of them.
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
}

// JournaldSource reads systemd's journal. An entry is read if it matches all
// of the lists given, and any one item of each.
//
//	sources:
//	  - name: ceph
//	    journald:
//	      units: ["ceph-*", ssh]
//	      fields: [MESSAGE_ID]
type JournaldSource struct {
	// Units as journalctl -u takes them: a name without a suffix is a .service; globs are allowed.
	Units []string `json:"units,omitempty"`
	// Identifiers as journalctl -t takes them (SYSLOG_IDENTIFIER).
	Identifiers []string `json:"identifiers,omitempty"`
	// FIELD=value matches as journalctl takes them: several of one field are alternatives, different fields must all match.
	Matches []string `json:"matches,omitempty"`
	// A directory of journal files, or of machine-id directories that hold them. Default: this machine's journal in /var/log/journal and /run/log/journal.
	Directory string `json:"directory,omitempty"`
	// Journal fields to keep beside the message, priority, identifier, unit, PID and host name; "*" keeps all.
	Fields []string `json:"fields,omitempty"`
}

// FileSource tails files.
//
//	sources:
//	  - name: app
//	    file:
//	      paths: [/var/log/app/**/*.log]
//	      exclude: [/var/log/app/**/*-debug.log]
//	      maxLineBytes: 1MiB
type FileSource struct {
	// Globs of absolute paths; ** matches any number of directories.
	Paths []string `json:"paths"`
	// Globs of paths to leave out.
	Exclude []string `json:"exclude,omitempty"`
	// Longer lines are cut, counted, and marked: truncated="true" in structured data and on standard output, and as structured metadata if that is asked for.
	MaxLineBytes Bytes `json:"maxLineBytes,omitempty" default:"256KiB" min:"1KiB" max:"16MiB"`
	// Disk space that deleted files may go on taking up because some target still needs them. Beyond it the oldest one is given up: what is left of it is counted as lost, logged, and announced in the stream. 0: no bound.
	MaxHeldBytes Bytes `json:"maxHeldBytes,omitempty" default:"4GiB" min:"0B" max:"1048576GiB"`
	// Files that may be held open though they were deleted or rotated away; beyond it the oldest one is given up. 0: no bound.
	MaxHeldFiles int `json:"maxHeldFiles,omitempty" default:"1000" min:"0" max:"1000000"`
	// How long a file that was deleted or rotated away is held for a target that has not had all of it; then it is given up. 0: no bound.
	MaxHeldAge Duration `json:"maxHeldAge,omitempty" default:"0s" min:"0s" max:"87600h"`
}

// Target is something that records are sent to. Exactly one of loki, rsyslog
// and stdout is given.
//
//	targets:
//	  - name: siem
//	    rsyslog:
//	      address: logs.example.net:6514
//	    startAt: 2026-11-20T08:00:00Z
//	    queueBytes: 32MiB
type Target struct {
	// Name of the target, unique among targets. Positions are kept under it.
	Name string `json:"name"`
	// Whether anything is sent to it.
	Enabled *bool `json:"enabled,omitempty" default:"true"`
	// Grafana Loki's push API.
	Loki *LokiTarget `json:"loki,omitempty"`
	// A syslog server that takes RFC 5424, such as rsyslog.
	Rsyslog *RsyslogTarget `json:"rsyslog,omitempty"`
	// The standard output of lbshipd.
	Stdout *StdoutTarget `json:"stdout,omitempty"`
	// Where a target begins with a source that it was never sent anything of: beginning (all that the source still holds), now, or a time as in RFC 3339, such as 2026-11-20T08:00:00Z. Not given: where the other targets are, or what the source's startAt says if there are none. It counts once for each source; changed later, it has no effect. Inputs that appear later are read from their beginning.
	StartAt string `json:"startAt,omitempty"`
	// Memory that the queue of this target may hold.
	QueueBytes Bytes `json:"queueBytes,omitempty" default:"8MiB" min:"1MiB" max:"4GiB"`
	// Keeps the records that this target refuses for good, in the data directory. Without it they are counted and logged only.
	DeadLetters *DeadLetters `json:"deadLetters,omitempty"`
	// Keeps what the target has not answered for on this machine's disk. Without it the sources keep it, which is enough unless they forget too soon.
	Spool *Spool `json:"spool,omitempty"`
	// Names of the nodes that send to it (--node-name); globs are allowed. Not given: all nodes.
	Nodes []string `json:"nodes,omitempty"`
	// Labels that a node must have to send to it (--node-label), every one of them.
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
}

// Spool keeps records on disk that a target has not answered for within a
// second, so that their sources may forget them: rotate, vacuum, delete. It
// is in the data directory, under spool/NAME. When it is full, the target falls
// behind at its sources, as it does without a spool; nothing is dropped.
//
//	targets:
//	  - name: siem
//	    rsyslog:
//	      address: logs.example.net:6514
//	    spool:
//	      maxBytes: 10GiB
type Spool struct {
	// Disk space that it may take.
	MaxBytes Bytes `json:"maxBytes,omitempty" default:"1GiB" min:"16MiB" max:"1024GiB"`
}

// LokiTarget pushes to Loki (POST /loki/api/v1/push, protobuf with snappy).
//
//	targets:
//	  - name: loki
//	    loki:
//	      url: https://loki.example.net:3100
//	      tenantId: storage
//	      labels:
//	        cluster: prod
//	      structuredMetadata: [pid]
type LokiTarget struct {
	// Base URL or full push URL; /loki/api/v1/push is added to a URL without a path.
	URL string `json:"url"`
	// Sent as X-Scope-OrgID.
	TenantID string `json:"tenantId,omitempty"`
	// Name of the TLS bundle for https.
	TLSBundle string `json:"tlsBundle,omitempty"`
	// The name that the server's certificate must carry, if not the URL's host.
	ServerName string `json:"serverName,omitempty"`
	// HTTP basic authentication.
	BasicAuth *BasicAuth `json:"basicAuth,omitempty"`
	// Sent as Authorization: Bearer. Write-only.
	BearerToken Secret `json:"bearerToken,omitempty"`
	// A file that holds the bearer token; read again when it changes.
	BearerTokenFile string `json:"bearerTokenFile,omitempty"`
	// Labels of every stream of this target; a source's label of the same name wins.
	Labels map[string]string `json:"labels,omitempty"`
	// Record attributes that become stream labels, out of source, host, unit, identifier, filename, level.
	StreamLabels []string `json:"streamLabels,omitempty" default:"source, host, unit, identifier, filename, level"`
	// Record attributes (as for streamLabels, and pid, msgid and truncated, which is "true" for a line that was cut) and fields that become structured metadata.
	StructuredMetadata []string `json:"structuredMetadata,omitempty"`
	// A push is sent when its lines reach this size.
	BatchBytes Bytes `json:"batchBytes,omitempty" default:"1MiB" min:"1KiB" max:"64MiB"`
	// A push is sent at the latest after this time.
	BatchWait Duration `json:"batchWait,omitempty" default:"500ms" min:"0s" max:"1m"`
	// How long a push may take.
	Timeout Duration `json:"timeout,omitempty" default:"10s" min:"100ms" max:"10m"`
}

// BasicAuth is a user name and password.
//
//	targets:
//	  - name: loki
//	    loki:
//	      url: https://loki.example.net:3100
//	      basicAuth:
//	        username: lbshipd
//	        passwordFile: /etc/lbshipd/loki-password
type BasicAuth struct {
	// User name.
	Username string `json:"username"`
	// Password. Write-only.
	Password Secret `json:"password,omitempty"`
	// A file that holds the password; read again when it changes.
	PasswordFile string `json:"passwordFile,omitempty"`
}

// RsyslogTarget sends RFC 5424 messages over TLS (RFC 5425), TCP (RFC 6587),
// UDP (RFC 5426) or RELP. Exactly one of address and addresses is given.
//
// What delivered means depends on the protocol. Over udp: sent. Over tcp and tls: received
// by the server's kernel, on a connection that was still good; what rsyslog has not read or written by the time that it is killed is gone.
// Over relp and relp-tls: each message was answered by the server, so that nothing is
// lost between the two programs, whatever is killed; messages may arrive twice.
// rsyslog's imrelp answers when a message is in its main queue, which is memory by default. With
// main_queue(queue.type="Direct") it answers when the actions are done, and omfile has given the line to the kernel: then
// nothing that was delivered is lost when rsyslog is killed. Against a loss of power omfile needs sync="on" as well,
// or the main queue is kept on disk with queue.type="Disk" and queue.syncQueueFiles="on".
// An answer of 500 is a failure that can pass, as RELP has none that says that a message can never pass; the message is sent again until it is taken.
//
//	targets:
//	  - name: siem
//	    rsyslog:
//	      address: logs.example.net:6514
//	      tlsBundle: siem
//	      facility: local3
//	tlsBundles:
//	  - name: siem
//	    caFile: /etc/lbshipd/tls/ca.pem
type RsyslogTarget struct {
	// host:port.
	Address string `json:"address,omitempty"`
	// Several host:port, the preferred one first. One is used at a time; if it fails, the next one gets all that is not confirmed, at once.
	Addresses []string `json:"addresses,omitempty"`
	// How often the first of several addresses is tried while another one is in use; it is gone back to once it can be connected to.
	FailbackAfter Duration `json:"failbackAfter,omitempty" default:"5m" min:"1s" max:"24h"`
	// tls, tcp, udp, relp or relp-tls.
	Protocol string `json:"protocol,omitempty" default:"tls"`
	// Name of the TLS bundle; without one, the system's CAs are trusted and no certificate is shown.
	TLSBundle string `json:"tlsBundle,omitempty"`
	// The name that the server's certificate must carry, if not the host of the address that is connected to.
	ServerName string `json:"serverName,omitempty"`
	// Accepted certificates, as "sha-256:AB:CD:..." or "sha-1:..." (RFC 5425 section 4.2.2). With serverName or a CA, both must hold.
	Fingerprints []string `json:"fingerprints,omitempty"`
	// How messages are told apart on a stream: octet-counting (RFC 6587 section 3.4.1) or newline. Always octet-counting over TLS; RELP has framing of its own.
	Framing string `json:"framing,omitempty" default:"octet-counting"`
	// Syslog facility of records that have none: kern, user, mail, daemon, auth, syslog, lpr, news, uucp, cron, authpriv, ftp, local0 to local7.
	Facility string `json:"facility,omitempty" default:"user"`
	// APP-NAME of records that have no identifier. Default: the source's name.
	AppName string `json:"appName,omitempty"`
	// Fields that are sent as structured data.
	StructuredData []string `json:"structuredData,omitempty"`
	// The SD-ID of our structured data, with source, unit, path, labels and the fields above. Empty: none is sent.
	StructuredDataID *string `json:"structuredDataId,omitempty" default:"lbshipd@32473"`
	// Longer messages are cut; keep it within the receiver's own limit (rsyslog: maxMessageSize, 8096 unless configured). Over RELP at most 128KiB.
	MaxMessageBytes Bytes `json:"maxMessageBytes,omitempty" default:"8096" min:"480" max:"16MiB"`
	// How long connecting, or an answer, may take.
	Timeout Duration `json:"timeout,omitempty" default:"10s" min:"100ms" max:"10m"`
}

// DeadLetters keeps what a target refuses for good, with its reasons, in
// dead-letters/TARGET of the data directory: lines of JSON that "lbshipd inspect
// dead-letters" prints and "lbshipd replay" sends again. What a target cannot take
// now (it is down, busy, or asks to wait) is not refused; it is sent until it passes.
//
//	targets:
//	  - name: loki
//	    loki:
//	      url: https://loki.example.net:3100
//	    deadLetters:
//	      maxBytes: 256MiB
type DeadLetters struct {
	// What the kept records may weigh on disk in all; beyond it the oldest are dropped and counted.
	MaxBytes Bytes `json:"maxBytes,omitempty" default:"64MiB" min:"64KiB" max:"16GiB"`
}

// StdoutTarget prints records.
//
//	targets:
//	  - name: console
//	    stdout:
//	      format: json
type StdoutTarget struct {
	// text (coloured on a terminal), json or logfmt.
	Format string `json:"format,omitempty" default:"text"`
}

// TLSBundle holds certificates. Each part is given as PEM text or as the path
// of a file, which is read again when it changes.
//
//	tlsBundles:
//	  - name: siem
//	    caFile: /etc/lbshipd/tls/ca.pem
//	    certFile: /etc/lbshipd/tls/node.pem
//	    keyFile: /etc/lbshipd/tls/node.key
type TLSBundle struct {
	// Name of the bundle, unique among bundles.
	Name string `json:"name"`
	// Certificates of the authorities that sign the server's certificate. Default: the system's.
	CAPem string `json:"caPem,omitempty"`
	// Certificate chain that is shown to the server.
	CertPem string `json:"certPem,omitempty"`
	// Private key of certPem. Write-only.
	KeyPem Secret `json:"keyPem,omitempty"`
	// File with what caPem holds.
	CAFile string `json:"caFile,omitempty"`
	// File with what certPem holds.
	CertFile string `json:"certFile,omitempty"`
	// File with what keyPem holds.
	KeyFile string `json:"keyFile,omitempty"`
}

// Format is a line format given as a regular expression.
//
//	sources:
//	  - name: app
//	    file:
//	      paths: [/var/log/app.log]
//	    logFormat: regex:app
//	formats:
//	  - name: app
//	    regex: '^(?P<time>\S+ \S+) (?P<level>[A-Z]+) (?P<message>.*)$'
//	    timeLayout: "2006-01-02 15:04:05"
type Format struct {
	// Name, used as logFormat "regex:NAME".
	Name string `json:"name"`
	// RE2 expression. The named groups time, level, message, host, identifier and pid are taken as such, all others are fields.
	Regex string `json:"regex"`
	// Layout of the group time, as Go's time package writes it. Default: found out from the text.
	TimeLayout string `json:"timeLayout,omitempty"`
}

// Service says which format the lines of a service have, for sources that give no
// logFormat: a source of the journal whose units (without .service) and
// identifiers all name services of one format, and a source of files whose
// paths all end in DIRECTORY/SERVICE or DIRECTORY/SERVICE.EXTENSION. Known without
// an entry are node-manager, cluster-manager, api-service, discovery-service,
// upgrade-manager and lightbox-exporter (logfmt), etcd (zap-json), duroslight and
// gftl (auto); an entry of the same name takes their place.
//
//	sources:
//	  - name: billing
//	    journald:
//	      identifiers: [billing]
//	services:
//	  - name: billing
//	    logFormat: json
type Service struct {
	// Name of the service.
	Name string `json:"name"`
	// The format of its lines, as a source's logFormat.
	LogFormat string `json:"logFormat"`
}

// Bytes is a size: a number of bytes, or a number with B, KiB, MiB or GiB.
type Bytes int64

// Duration is a time span as Go writes it: 500ms, 2s, 1m.
type Duration time.Duration

// SortedLabels returns the source's labels, sorted by name.
func (s *Source) SortedLabels() []record.Label {
	var labels []record.Label
	for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
		labels = append(labels, record.Label{Name: name, Value: s.Labels[name]})
	}
	return labels
}

// IsEnabled reports whether the source is to be read.
func (s *Source) IsEnabled() bool { return s.Enabled == nil || *s.Enabled }

// IsEnabled reports whether the target is to be sent to.
func (t *Target) IsEnabled() bool { return t.Enabled == nil || *t.Enabled }
