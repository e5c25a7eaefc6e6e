package monitoring

import (
	"bytes"
	"encoding/json"
)

// A dashboard as Grafana 10 and newer read it (schema version 39); the names are
// those of its dashboard JSON model.
type (
	dashboard struct {
		UID           string    `json:"uid"`
		Title         string    `json:"title"`
		Description   string    `json:"description"`
		Tags          []string  `json:"tags"`
		SchemaVersion int       `json:"schemaVersion"`
		Version       int       `json:"version"`
		Editable      bool      `json:"editable"`
		GraphTooltip  int       `json:"graphTooltip"` // 1: one crosshair for all panels
		Refresh       string    `json:"refresh"`
		Time          timeRange `json:"time"`
		Timezone      string    `json:"timezone"`
		Annotations   list      `json:"annotations"`
		Links         []link    `json:"links"`
		Templating    list      `json:"templating"`
		Panels        []*panel  `json:"panels"`
		Timepicker    struct{}  `json:"timepicker"`
	}
	list struct {
		List []any `json:"list"`
	}
	timeRange struct {
		From string `json:"from"`
		To   string `json:"to"`
	}
	datasource struct {
		Type string `json:"type"`
		UID  string `json:"uid"`
	}
	link struct {
		Title       string   `json:"title"`
		Type        string   `json:"type"`
		Icon        string   `json:"icon"`
		Tooltip     string   `json:"tooltip"`
		Tags        []string `json:"tags"`
		AsDropdown  bool     `json:"asDropdown"`
		IncludeVars bool     `json:"includeVars"`
		KeepTime    bool     `json:"keepTime"`
		TargetBlank bool     `json:"targetBlank"`
	}
	variable struct {
		Name        string      `json:"name"`
		Label       string      `json:"label"`
		Type        string      `json:"type"`
		Datasource  *datasource `json:"datasource,omitempty"`
		Definition  string      `json:"definition,omitempty"`
		Query       any         `json:"query"`
		Refresh     int         `json:"refresh"` // 1: on load, 2: when the time range changes
		Sort        int         `json:"sort"`
		Multi       bool        `json:"multi"`
		IncludeAll  bool        `json:"includeAll"`
		AllValue    string      `json:"allValue,omitempty"`
		Current     any         `json:"current,omitempty"`
		Options     []any       `json:"options"`
		Regex       string      `json:"regex"`
		Hide        int         `json:"hide"`
		SkipURLSync bool        `json:"skipUrlSync"`
	}
	gridPos struct {
		H int `json:"h"`
		W int `json:"w"`
		X int `json:"x"`
		Y int `json:"y"`
	}
	query struct {
		RefID        string      `json:"refId"`
		Datasource   *datasource `json:"datasource"`
		Expr         string      `json:"expr"`
		LegendFormat string      `json:"legendFormat"`
		EditorMode   string      `json:"editorMode"`
		Format       string      `json:"format,omitempty"`
		Instant      bool        `json:"instant"`
		Range        bool        `json:"range"`
	}
	panel struct {
		ID              int          `json:"id"`
		Type            string       `json:"type"`
		Title           string       `json:"title"`
		Description     string       `json:"description,omitempty"`
		GridPos         gridPos      `json:"gridPos"`
		Collapsed       *bool        `json:"collapsed,omitempty"`
		Panels          any          `json:"panels,omitempty"` // of a row: empty, for what is in an open one stands behind it
		Datasource      *datasource  `json:"datasource,omitempty"`
		FieldConfig     *fieldConfig `json:"fieldConfig,omitempty"`
		Options         any          `json:"options,omitempty"`
		Targets         []query      `json:"targets,omitempty"`
		Transformations []any        `json:"transformations,omitempty"`
	}
	fieldConfig struct {
		Defaults  fieldDefaults `json:"defaults"`
		Overrides []any         `json:"overrides"`
	}
	fieldDefaults struct {
		Unit       string         `json:"unit,omitempty"`
		NoValue    string         `json:"noValue,omitempty"`
		Color      map[string]any `json:"color,omitempty"`
		Thresholds *thresholds    `json:"thresholds,omitempty"`
		Custom     map[string]any `json:"custom,omitempty"`
	}
	thresholds struct {
		Mode  string `json:"mode"`
		Steps []step `json:"steps"`
	}
	step struct {
		Color string   `json:"color"`
		Value *float64 `json:"value"` // null: from below all
	}
)

// prometheus is the data source that the reader of the dashboard chooses.
var prometheus = &datasource{"prometheus", "${datasource}"}

// Overview returns packaging/grafana/lbshipd-overview.json: the dashboard of all nodes.
func Overview() []byte { return encode(overview()) }

// Node returns packaging/grafana/lbshipd-node.json: the dashboard of one node.
func Node() []byte { return encode(nodePage()) }

func encode(d *dashboard) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(d); err != nil {
		panic(err) // of types that are all ours
	}
	return b.Bytes()
}

// datasourceVariable lets the reader choose a Prometheus.
func datasourceVariable() variable {
	return variable{Name: "datasource", Label: "Data source", Type: "datasource", Query: "prometheus", Refresh: 1, Options: []any{}}
}

// choice is a variable with the values that a label has, all of them at first. Absent
// labels match too where a node may do without, such as cluster.
func choice(name, label, values, all string) variable {
	v := single(name, label, values)
	v.Multi, v.IncludeAll, v.AllValue = true, true, all
	v.Current = map[string]any{"selected": true, "text": []string{"All"}, "value": []string{"$__all"}}
	return v
}

// single is a variable with one of the values that a label has.
func single(name, label, values string) variable {
	return variable{Name: name, Label: label, Type: "query", Datasource: prometheus, Definition: values,
		Query:   map[string]string{"query": values, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
		Refresh: 2, Sort: 1, Options: []any{}}
}
