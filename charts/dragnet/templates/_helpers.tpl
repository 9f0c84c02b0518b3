{{- define "dragnet.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* `dragnet-operator` for a release called dragnet. Short enough for what is added to it: at most `-webhook-issuer`. */}}
{{- define "dragnet.fullname" -}}
{{- $name := include "dragnet.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- printf "%s-operator" (.Release.Name | trunc 39 | trimSuffix "-") -}}
{{- else -}}
{{- printf "%s-operator" (printf "%s-%s" .Release.Name $name | trunc 39 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{- define "dragnet.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "dragnet.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "dragnet.selectorLabels" -}}
app.kubernetes.io/name: {{ include "dragnet.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "dragnet.ownLabels" -}}
{{ include "dragnet.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: dragnet
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Ours, and those of (list . labels-to-add), of which none can replace one of ours: selectors and policies rely on them. */}}
{{- define "dragnet.labels" -}}
{{- $root := index . 0 -}}
{{- toYaml (merge (include "dragnet.ownLabels" $root | fromYaml) (index . 1) $root.Values.commonLabels) -}}
{{- end -}}

{{/* The whole of `metadata` but the name: (list . annotations-to-add labels-to-add). */}}
{{- define "dragnet.metadata" -}}
{{- $root := index . 0 -}}
labels:
  {{- include "dragnet.labels" (list $root (index . 2)) | nindent 2 }}
{{- with merge (dict) (index . 1) $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "dragnet.image" -}}
{{- $image := .Values.image -}}
{{- $name := $image.repository -}}
{{- if $image.registry -}}{{- $name = printf "%s/%s" (trimSuffix "/" $image.registry) $name -}}{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "dragnet.operandImage" -}}
{{- default (include "dragnet.image" .) .Values.operandImage -}}
{{- end -}}

{{- define "dragnet.webhookSecret" -}}
{{- printf "%s-webhook" (include "dragnet.fullname" .) -}}
{{- end -}}

{{- define "dragnet.usesOwnCertificate" -}}
{{- if and .Values.webhook.enabled (eq .Values.webhook.certificate "own") -}}true{{- end -}}
{{- end -}}

{{- define "dragnet.usesCertManager" -}}
{{- if and .Values.webhook.enabled (eq .Values.webhook.certificate "certManager") -}}true{{- end -}}
{{- end -}}

{{/* Names of the kinds in the API, each once. */}}
{{- define "dragnet.platformResources" -}}
[orchestrators, scanworkers, batchdatasets]
{{- end -}}
{{- define "dragnet.analystResources" -}}
[corpora, yararulesets]
{{- end -}}
{{- define "dragnet.allResources" -}}
[orchestrators, scanworkers, batchdatasets, corpora, yararulesets]
{{- end -}}
