{{/* The whole of `metadata` but the name. */}}
{{- define "dragnet-crds.metadata" -}}
labels:
  app.kubernetes.io/name: dragnet
  app.kubernetes.io/instance: {{ .Release.Name }}
  app.kubernetes.io/part-of: dragnet
  app.kubernetes.io/managed-by: {{ .Release.Service }}
  helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
  {{- with .Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- $annotations := dict }}
{{- if .Values.keep }}
{{- $annotations = dict "helm.sh/resource-policy" "keep" }}
{{- end }}
{{- with merge $annotations .Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
