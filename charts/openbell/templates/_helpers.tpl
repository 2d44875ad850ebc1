{{- define "openbell.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "openbell.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "openbell.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "openbell.operatorName" -}}
{{- printf "%s-operator" (include "openbell.fullname" .) -}}
{{- end -}}

{{- define "openbell.selectorLabels" -}}
app.kubernetes.io/name: openbell-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "openbell.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
app.kubernetes.io/name: openbell-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: openbell
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "openbell.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "openbell.operatorName" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "openbell.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* The namespace in which `helm test` makes its scheduler: one that the operator watches. */ -}}
{{- define "openbell.testNamespace" -}}
{{- if or (not .Values.watchNamespaces) (has .Release.Namespace .Values.watchNamespaces) -}}
{{- .Release.Namespace -}}
{{- else -}}
{{- first .Values.watchNamespaces -}}
{{- end -}}
{{- end -}}

{{- /* The security of a pod and of a container under the restricted pod security standard. */ -}}
{{- define "openbell.podSecurity" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "openbell.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- /* Requests and limits without the amounts that were left empty. */ -}}
{{- define "openbell.resources" -}}
{{- range $kind := list "requests" "limits" }}
{{- $amounts := dict }}
{{- range $name, $amount := index $ $kind }}
{{- if $amount }}{{ $_ := set $amounts $name $amount }}{{ end }}
{{- end }}
{{- if $amounts }}
{{ $kind }}:
  {{- toYaml $amounts | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}
