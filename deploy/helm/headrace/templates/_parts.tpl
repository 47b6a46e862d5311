{{- define "headrace.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "headrace.labels" -}}
app.kubernetes.io/name: headrace
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* headrace.yaml: what the values say, and what the chart decides. */}}
{{- define "headrace.config" -}}
{{- $ours := dict "recovery" (dict "dir" "/var/lib/headrace/recovery") "cache" (dict "dir" "/tmp/headrace") -}}
{{- if .Values.policy }}{{ $_ := set $ours "pipeline" (dict "policy" "/etc/headrace/policy.yaml") }}{{ end -}}
{{- if eq .Values.engine "flink" -}}
{{- $_ := set $ours "flink" (dict "checkpoint_dir" .Values.flink.checkpointDir "environment" "/opt/headrace-flink" "jars" "/opt/headrace-jars" "python" "/opt/headrace-flink/bin/python") -}}
{{- else -}}
{{- $_ := set $ours "http" (dict "host" "0.0.0.0" "port" 9464) -}}
{{- end -}}
{{- toYaml (mergeOverwrite (deepCopy .Values.config) $ours) -}}
{{- end -}}

{{- define "headrace.environment" -}}
- {name: HEADRACE_CONFIG, value: /etc/headrace/headrace.yaml}
{{- range $name, $ref := .Values.secrets }}
- name: {{ $name }}
  valueFrom: {secretKeyRef: {name: {{ $ref.name }}, key: {{ $ref.key }}}}
{{- end }}
{{- if eq .Values.engine "bytewax" }}
- name: HEADRACE_HTTP__ACCESS__TOKENS__VIEWER
  valueFrom: {secretKeyRef: {name: {{ .Values.viewerToken.name }}, key: {{ .Values.viewerToken.key }}}}
{{- end }}
{{- end -}}

{{/* Nothing that a break-in could use: no root, no capabilities, nothing to write to but the volumes. */}}
{{- define "headrace.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "headrace.pod" -}}
serviceAccountName: {{ include "headrace.name" . }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "headrace.mounts" -}}
- {name: config, mountPath: /etc/headrace, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- range $path, $secret := .Values.secretFiles }}
- {name: {{ printf "files-%s" $secret }}, mountPath: {{ $path }}, readOnly: true}
{{- end }}
{{- end -}}

{{- define "headrace.volumes" -}}
- name: config
  configMap: {name: {{ include "headrace.name" . }}}
- name: tmp
  emptyDir: {sizeLimit: 1Gi}
{{- range $secret := .Values.secretFiles | values | uniq }}
- name: {{ printf "files-%s" $secret }}
  secret: {secretName: {{ $secret }}, defaultMode: 0440}
{{- end }}
{{- end -}}
